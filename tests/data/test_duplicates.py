"""Files that a dataset has several times."""

import errno
import os
import shutil

import pytest

import tfdefense
from tests.data.test_image_folder import save
from tests.data.test_own_folders import fill, rows, write_table
from tfdefense.data.core import file_hashes
from tfdefense.errors import UserError
from tfdefense.utils import progress


@pytest.fixture(autouse=True)
def nothing_printed(monkeypatch):
    monkeypatch.setattr(progress, "_printed", set())


@pytest.mark.parametrize(
    "other", ["./images/0.png", "images/0", "images/link.png", "images//0.png"]
)
def test_one_file_under_two_names_is_one_image(tmp_path, capsys, other):
    text = "file,label,split\n" + rows(
        lambda i: f"images/{i}.png,{i % 2},{['train', 'test'][i > 5]}"
    )
    name = write_table(tmp_path, text + f"{other},0,train\n")
    os.symlink("0.png", tmp_path / "images" / "link.png")
    data = tfdefense.data.load(name)
    assert len(data.train) + len(data.validation) == 6
    assert "1 repeated lines left out" in capsys.readouterr().out
    (tmp_path / "labels.csv").write_text(text + f"{other},1,test\n")
    with pytest.raises(
        UserError, match=f"line 14 gives '{other}' the label '1' and the split 'test'"
    ):
        tfdefense.data.load(name)


@pytest.mark.parametrize("cache", ["1", "0"])
def test_equal_files_in_two_classes_and_in_test_images_are_said(
    tmp_path, monkeypatch, capsys, cache
):
    monkeypatch.setenv("TFDEFENSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDEFENSE_CACHE_GIB", cache)
    pets = tmp_path / "pets"
    fill(pets / "train", count=4)
    fill(pets / "test", count=3, start=100)
    shutil.copy(pets / "train" / "a" / "01.png", pets / "train" / "b" / "99.png")
    shutil.copy(pets / "train" / "b" / "02.png", pets / "test" / "b" / "98.png")
    data = tfdefense.data.load(f"dir:{pets}")
    note = "1 of 7 test images are also training or validation images, byte for byte"
    assert (data.train.note, data.test.note) == ("", f"{note}.")
    printed = capsys.readouterr().out
    assert f"{note}, such as test/b/98.png and train/b/02.png." in printed
    assert "2 files have the same bytes as a file of another class, such as train/a/01" in printed


def test_different_files_and_damaged_ones_are_not_called_equal(tmp_path, capsys):
    fill(tmp_path, count=4)
    for name in ("a", "b"):
        for number in (10, 11):
            (tmp_path / name / f"{number}.png").write_bytes(b"")
    save(tmp_path / "a" / "0.bmp", 0)  # The pixels of 00.png in other bytes.
    data = tfdefense.data.load(f"dir:{tmp_path}", skip_corrupt=True)
    assert data.test.note == ""
    assert "same bytes" not in capsys.readouterr().out


def test_a_file_that_cannot_be_read_hides_no_duplicate(tmp_path, capsys, monkeypatch):
    """With `skip_corrupt` it is left out like a damaged one, and the others are compared."""
    fill(tmp_path / "train", count=4)
    fill(tmp_path / "test", count=3, start=100)
    shutil.copy(tmp_path / "train" / "b" / "02.png", tmp_path / "test" / "b" / "98.png")
    (tmp_path / "train" / "a" / "99.png").write_bytes(b"")

    def read(path):  # The superuser, who may run the tests, can read a file of mode 000.
        if path.name == "99.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return hash_bytes(path)

    hash_bytes = file_hashes.hash_bytes
    monkeypatch.setattr(file_hashes, "hash_bytes", read)
    data = tfdefense.data.load(f"dir:{tmp_path}", skip_corrupt=True)
    assert "byte for byte" in data.test.note
    printed = capsys.readouterr().out
    assert "1 damaged files left out" in printed
    assert "cannot cache" not in printed
