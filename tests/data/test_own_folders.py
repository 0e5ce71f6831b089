"""Folders as people have them: names of splits, hidden files, other formats, damaged files."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tfdefense
from tests.data.test_image_folder import save, values
from tfdefense.errors import UserError
from tfdefense.utils import progress


@pytest.fixture(autouse=True)
def nothing_printed(monkeypatch):
    monkeypatch.setattr(progress, "_printed", set())


def fill(folder, classes=("a", "b"), count=10, start=0):
    for label, name in enumerate(classes):
        for number in range(count):
            save(folder / name / f"{number:02d}.png", start + 20 * label + number)


@pytest.mark.slow
@pytest.mark.parametrize("nested", [False, True])
def test_training_and_testing_are_splits(tmp_path, nested):
    places = [
        tmp_path / part / part if nested else tmp_path / part for part in ("Training", "TESTING")
    ]
    fill(places[0])
    fill(places[1], count=3, start=100)
    data = tfdefense.data.load(f"dir:{tmp_path}")
    assert data.class_names == ("a", "b")
    assert values(data.test) == {100, 101, 102, 120, 121, 122}
    assert len(data.train) + len(data.validation) == 20


def test_missing_test_images_are_drawn_and_said(tmp_path, capsys):
    fill(tmp_path / "train")
    fill(tmp_path / "validation", count=3, start=100)
    data = tfdefense.data.load(f"dir:{tmp_path}")
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 6, 2)
    assert "has no test images; 2 of the training images" in capsys.readouterr().out


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, ("bus", "train"))
    assert tfdefense.data.load(f"dir:{tmp_path}").class_names == ("bus", "train")


def test_hidden_files_and_other_files_are_left_out_and_named(tmp_path, capsys):
    fill(tmp_path)
    for hidden in ("a/.ipynb_checkpoints", "a/deep/.hidden", "b/@eaDir", "__MACOSX", ".git/a"):
        save(tmp_path / hidden / "copy.png", 200)
    (tmp_path / "a" / "._00.png").write_bytes(b"fork")
    (tmp_path / "b" / "notes.txt").write_text("text")
    (tmp_path / "b" / "phone.HEIC").write_bytes(b"heic")
    (tmp_path / "readme.md").write_text("text")
    save(tmp_path / "a" / "deep" / "below.png", 250)
    data = tfdefense.data.load(f"dir:{tmp_path}")
    assert len(data.train) + len(data.validation) + len(data.test) == 21
    printed = capsys.readouterr().out
    assert "9 files and folders left out (hidden, not an image, or in no class): .git/" in printed
    for name in ("a/.ipynb_checkpoints/", "a/deep/.hidden/", "b/@eaDir/", "a/._00.png"):
        assert name in printed
    assert "b/phone.HEIC" in printed


def test_all_formats_are_read_from_one_folder(tmp_path):
    fill(tmp_path, count=3)
    for number, suffix in enumerate(("tif", "GIF", "webp", "bmp", "tiff", "pgm")):
        save(tmp_path / "a" / f"more{number}.{suffix}", 100 + number)
    data = tfdefense.data.load(f"dir:{tmp_path}")
    assert len(data.train) + len(data.validation) + len(data.test) == 12


def test_splits_that_look_like_classes_are_refused_with_a_guess(tmp_path):
    fill(tmp_path / "first half")
    fill(tmp_path / "second half")
    message = r"first half, second half hold the same folders \(a, b\) and no images.*Rename them to train"
    with pytest.raises(UserError, match=message):
        tfdefense.data.load(f"dir:{tmp_path}")


def test_the_folder_below_is_guessed(tmp_path):
    fill(tmp_path / "archive" / "pets")
    with pytest.raises(UserError, match=r"Did you mean --dataset=dir:.*archive/pets\?"):
        tfdefense.data.load(f"dir:{tmp_path / 'archive'}")


def test_all_damaged_files_are_listed_at_once_or_skipped(tmp_path, capsys):
    fill(tmp_path / "train")
    fill(tmp_path / "test", count=4, start=100)
    cut = tmp_path / "train" / "b" / "03.png"
    Image.effect_noise((8, 6), 50).save(cut)
    cut.write_bytes(cut.read_bytes()[:70])
    (tmp_path / "train" / "a" / "00.png").write_bytes(b"text")
    (tmp_path / "test" / "a" / "01.png").write_bytes(b"")
    name = f"dir:{tmp_path}"
    with pytest.raises(UserError, match="3 files are damaged") as error:
        tfdefense.data.load(name)
    for each in ("train/b/03.png", "train/a/00.png", "test/a/01.png", "--skip_corrupt"):
        assert each in str(error.value)
    for _ in range(2):  # The second time from the cache.
        data = tfdefense.data.load(name, skip_corrupt=True)
        assert len(data.train) + len(data.validation) == 18
        assert values(data.test) == {100, 102, 103, 120, 121, 122, 123}
        assert data.settings()["skip_corrupt"] is True
    printed = "3 damaged files left out: test/a/01.png, train/a/00.png, train/b/03.png."
    assert printed in capsys.readouterr().out


def test_skip_corrupt_is_for_image_files_only():
    with pytest.raises(UserError, match="--skip_corrupt: --dataset=digits has no image files"):
        tfdefense.data.load("digits", skip_corrupt=True)


def test_names_that_are_not_utf8_are_read(tmp_path):
    fill(tmp_path, ("-犬", "_Füchse"))
    (tmp_path / "-犬" / "00.png").rename(
        tmp_path / "-犬" / b"Gr\xf6\xdfe.png".decode("utf-8", "surrogateescape")
    )
    data = tfdefense.data.load(f"dir:{tmp_path}")
    assert data.class_names == ("-犬", "_Füchse")
    assert len(data.train) == 16


@pytest.mark.slow
def test_commands_use_utf8_in_an_ascii_locale(tmp_path):
    (tmp_path / "Zähler").mkdir()
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": ""}
    command = [sys.executable, "-m", "tfdefense.cli.main", "attack", "--attack=fgsm"]
    done = subprocess.run(
        [*command, f"--dataset=dir:{tmp_path / 'Zähler'}"],
        env=environment | {"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Zähler: no folders in" in done.stderr.decode("utf-8")


def write_table(folder, text, count=12):
    for number in range(count):
        save(folder / "images" / f"{number}.png", 10 * number)
        save(folder / "images" / f"upper{number}.PNG", 10 * number)
    (folder / "labels.csv").write_bytes(text.encode("utf-8"))
    return f"csv:{folder / 'labels.csv'}"


def rows(line, count=12):
    return "".join(line(number) + "\n" for number in range(count))


@pytest.mark.parametrize(
    ("text", "class_names"),
    [
        ("file,label\n" + rows(lambda i: f"{i}.png,{'cat' if i % 2 else 'dog'}"), ("cat", "dog")),
        ("\ufefffilename;Label\r\n" + rows(lambda i: f"images/{i}.png;{i % 2}"), ("0", "1")),
        ("id\tclass\n" + rows(lambda i: f"{i}\t{i % 2}.0"), ("0", "1")),
        (rows(lambda i: f"{i}.png,{'ä' if i % 2 else 'ö'}"), ("ä", "ö")),
        ("id,class\n" + rows(lambda i: f"upper{i},{i % 2}"), ("0", "1")),
        ("file,class,class_id\n" + rows(lambda i: f"{i}.png,{'yx'[i % 2]},{i % 2}"), ("y", "x")),
        ("file,target,class\n" + rows(lambda i: f"{i}.png,{i % 2}.0,{'yx'[i % 2]}"), ("y", "x")),
        (
            "file,label,target,category\n"
            + rows(lambda i: f"{i}.png,{'wv'[i % 2]},{i // 6},{'ab'[i // 6]}"),
            ("v", "w"),
        ),
        ("file,y,label\n" + rows(lambda i: f"{i}.png,{i},{i % 2}"), ("0", "1")),
        ("image,label,class_name\n" + rows(lambda i: f"{i}.png,{i % 2},{'xy'[i % 2]}"), ("x", "y")),
    ],
)
def test_tables_are_read(tmp_path, text, class_names):
    data = tfdefense.data.load(write_table(tmp_path, text))
    assert data.class_names == class_names
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 2, 2)
    for split in (data.train, data.validation, data.test):
        numbers = np.round(25.5 * split.images[:, 0, 0, 0]).astype(int)
        first = 1 if class_names in (("cat", "dog"), ("ä", "ö"), ("v", "w")) else 0
        np.testing.assert_array_equal(split.labels, (numbers + first) % 2)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("diagnosis", "labels are those of the column 'target'; 'diagnosis' may be labels too."),
        ("age", ""),
    ],
)
def test_columns_that_may_be_labels_too_are_said(tmp_path, capsys, second, said):
    """Diagnoses of which several are benign, as in ISIC 2020."""
    text = f"file,{second},target\n" + rows(lambda i: f"{i}.png,{'abc'[i % 3]},{int(i % 3 > 0)}")
    data = tfdefense.data.load(write_table(tmp_path, text))
    assert data.class_names == ("0", "1")
    printed = capsys.readouterr().out
    assert said in printed
    assert said or "may be labels" not in printed


def test_a_table_may_name_the_splits(tmp_path):
    parts = ["train", "Training", "val", "test"]
    text = "file,label,split\n" + rows(lambda i: f"{i}.png,{i % 2},{parts[i % 4]}")
    text += "0.png,0,train\n"
    data = tfdefense.data.load(write_table(tmp_path, text))
    assert values(data.test) == {30, 70, 110}
    assert values(data.validation) == {20, 60, 100}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("file,label\n", "no lines after its header"),
        ("file,size\n0.png,3\n", "a column filename and a column label are needed"),
        ("file,label\n0.png,a\nnone.png,b\n1.png,b\n", "1 of 3 files do not exist: none.png"),
        ("file,label\n0.png,a\n1.png,\n", "line 3 has no label"),
        ("file,label\n0.png,a\n0.png,b\n", "line 3 gives '0.png' the label 'b'"),
        ("file,label\n0.png,a\n1.png,a\n2.png,a\n", "one class only"),
        ("file,label\n0.png,3\n1.png,100000\n2.png,1\n", "classes from 0 to 99,999 needed"),
        (
            "file,label,split\n0.png,a,train\n1.png,b,other\n",
            "line 3: split 'other' given.*rename it",
        ),
        (
            "file,label,split\n0.png,1,train\n1.png,2,train\n2.png,1,test\n3.png,2,val\n",
            "class '0' has 0 training images. Class numbers begin at 0",
        ),
    ],
)
def test_errors_name_the_unusable_table(tmp_path, text, message):
    name = write_table(tmp_path, text, 4)
    with pytest.raises(UserError, match=message):
        tfdefense.data.load(name)


def test_two_folders_with_the_same_names_are_refused(tmp_path):
    """Photographs and their masks, or two sizes of the same photographs."""
    name = write_table(tmp_path, "file,label\n" + rows(lambda i: f"{i}.png,{i % 2}"))
    for number in range(12):
        save(tmp_path / "annotations" / f"{number}.png", 255)
    with pytest.raises(
        UserError, match=r"2 folders have files of these names: annotations, images\."
    ):
        tfdefense.data.load(name)
    (tmp_path / "annotations" / "3.png").unlink()
    assert len(tfdefense.data.load(name).train) == 8
    for number in range(12):
        save(tmp_path / f"{number}.png", 10 * number)
    assert len(tfdefense.data.load(name).train) == 8, "those next to the table"


@pytest.mark.parametrize("file", [".", "./", "images/.."])
def test_a_table_that_names_a_folder_is_refused(tmp_path, monkeypatch, file):
    write_table(tmp_path, f"file,label\n{file},a\n0.png,b\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="1 of 2 files are named by a path that leads out"):
        tfdefense.data.load("csv:labels.csv")


def test_images_that_are_nearly_black_are_said(tmp_path, capsys):
    """Integers of 32 bits with 8 used, of which the upper 8 of 16 are read."""
    for number in range(12):
        pixels = np.full((5, 5), 100 + 300 * (number // 6), np.int32)
        folder = tmp_path / "scans" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.tiff")
    tfdefense.data.load(f"dir:{tmp_path / 'scans'}")
    assert "images are nearly black: no value of the first 100 is above 1 of 255" in (
        capsys.readouterr().out
    )


def test_a_table_that_is_not_utf8_is_refused(tmp_path):
    name = write_table(tmp_path, "", 3)
    (tmp_path / "labels.csv").write_bytes(b"file,label\n0.png,\xe4\n")
    with pytest.raises(UserError, match=r"is not UTF-8 \(byte 17\)"):
        tfdefense.data.load(name)


@pytest.mark.parametrize("kind", [str, bytes])
def test_archives_may_have_names_as_labels(tmp_path, kind):
    labels = np.array(["dog", "cat"] * 20)
    labels = labels if kind is str else np.char.encode(labels, "utf-8")
    images = np.uint8(np.arange(40) % 2)[:, None, None] * np.full((1, 5, 5), 255, np.uint8)
    np.savez(tmp_path / "named.npz", images=images, labels=labels)
    data = tfdefense.data.load(f"npz:{tmp_path / 'named.npz'}")
    assert data.class_names == ("cat", "dog")
    np.testing.assert_array_equal(data.train.labels, data.train.images[:, 0, 0, 0] == 0)
