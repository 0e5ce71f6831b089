"""bin/purify for a folder: outputs, resumption, and invalid flags."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

import tfdefense
from tests.conftest import SHAPE
from tests.serving import fake_server
from tests.serving.conftest import CLASS_NAMES
from tfdefense.cli.main import main
from tfdefense.defenses import BitDepth
from tfdefense.errors import UserError
from tfdefense.serving import open_model
from tfdefense.serving.client.local_client import SavedModelClient
from tfdefense.serving.client.predictions_file import PredictionsFile


def read_predictions(target):
    with (target / "predictions.csv").open() as file:
        return {(row["file"], row["index"]): row for row in csv.DictReader(file)}


@pytest.fixture(params=["local", "grpc", "rest"])
def model_flags(request, exported, server):
    """Flags that name the model: in this process, over gRPC and over REST."""
    if request.param == "local":
        return [f"--model={exported.parent}"]
    return [f"--model={fake_server.NAME}", f"--server={server[request.param]}"]


@pytest.fixture
def purified(model_flags, folder, tmp_path, capsys):
    """The purified folder, and the class names that may be in its predictions."""
    target = tmp_path / "out"
    flags = [*model_flags, f"--input={folder}", f"--output={target}", "--batch_size=4"]
    assert main(["purify", *flags]) == 1
    printed = capsys.readouterr()
    assert f"Skipped {folder / 'cut.png'}: Invalid PNG data" in printed.out
    assert f"Skipped {folder / 'empty.jpg'}: not an image, or a damaged one" in printed.out
    assert f"Skipped {folder / 'nan.npz'}: images 0 to 3: images: values from" in printed.out
    assert "3 of 16 files skipped" in printed.err
    assert "left out (hidden, or not an image): ._0.png, notes.txt." in printed.out
    return target, CLASS_NAMES if len(model_flags) == 1 else ("",)


@pytest.mark.slow
def test_a_folder_is_purified(purified, exported, toy_images):
    target, class_names = purified
    model = open_model(exported)
    grey = np.float32(np.round(255 * toy_images) / 255)
    expected = model.predict("serving_default", grey)
    rows = read_predictions(target)
    assert len(rows) == 10 + 1 + 24 + 5
    for index in range(10):
        picture = np.asarray(Image.open(target / f"{index}.png"))
        np.testing.assert_allclose(picture, 255 * expected["purified"][index, ..., 0], atol=0.51)
        row = rows[f"{index}.png", ""]
        assert int(row["class"]) == expected["classes"][index]
        for column, value in (
            ("perturbation_norm", expected["perturbation_norm"][index]),
            ("probability", expected["probabilities"][index].max()),
        ):
            assert float(row[column]) == pytest.approx(value, abs=1e-4)
        assert row["class_name"] in class_names
    assert Image.open(target / "below" / "colour.JPG").size == SHAPE[:2]
    with np.load(target / "many.npz") as archive:
        assert archive["images"].dtype == np.uint8
        purified_pixels = 255 * expected["purified"][..., 0]
        np.testing.assert_allclose(archive["images"], purified_pixels, atol=0.51)
        np.testing.assert_array_equal(archive["labels"], np.arange(24))
    with np.load(target / "floats.npz") as archive:
        assert archive.files == ["x"]
        exact = model.predict("serving_default", toy_images[:5])["purified"]
        np.testing.assert_allclose(archive["x"], exact, atol=1e-5)
    assert not (target / "cut.png").exists()
    assert not list(target.rglob("*.partial"))


@pytest.mark.slow
def test_the_same_command_resumes_a_killed_one(
    good_folder, exported, tmp_path, capsys, monkeypatch
):
    target = tmp_path / "out"
    flags = [f"--model={exported}", f"--input={good_folder}", f"--output={target}"]
    command = ["purify", *flags, "--batch_size=2"]
    batches = []
    predict = SavedModelClient.predict

    def interrupt_third_batch(self, signature, values):
        if len(batches) == 3:
            raise KeyboardInterrupt
        return count_images(self, signature, values)

    def count_images(self, signature, values):
        batches.append(len(values))
        return predict(self, signature, values)

    monkeypatch.setattr(SavedModelClient, "predict", interrupt_third_batch)
    assert main(command) == 130
    assert len(read_predictions(target)) == 6
    with (target / "predictions.csv").open("a") as file:
        file.write("6.png,,apeg")  # An incomplete line.
    for name in ("many.npz.abcd_123.partial", "mine.abcd_123.partial"):
        (target / name).mkdir()
        (target / name / "many.npz").write_bytes(b"half")

    monkeypatch.setattr(SavedModelClient, "predict", count_images)
    batches.clear()
    assert main(command) == 0
    assert sum(batches) == 5 + 24 + 5
    assert [path.name for path in target.glob("*.partial")] == ["mine.abcd_123.partial"]
    assert len(read_predictions(target)) == 11 + 24 + 5
    batches.clear()
    assert main(command) == 0
    assert batches == []
    assert main([*command, "--overwrite"]) == 0
    assert sum(batches) == 11 + 24 + 5
    assert len(read_predictions(target)) == 11 + 24 + 5
    assert "13 files" in capsys.readouterr().out


@pytest.mark.slow
def test_files_are_purified_again_if_the_model_or_their_bytes_change(
    good_folder, exported, toy_model, tmp_path, monkeypatch
):
    target = tmp_path / "out"
    flags = [f"--input={good_folder}", f"--output={target}"]
    assert main(["purify", f"--model={exported}", *flags]) == 0
    first = read_predictions(target)
    picture = Image.open(good_folder / "0.png")
    Image.fromarray(255 - np.asarray(picture)).save(good_folder / "0.png")
    add = PredictionsFile.add

    def add_and_interrupt(*arguments):
        add(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PredictionsFile, "add", add_and_interrupt)
        assert main(["purify", f"--model={exported}", *flags]) == 130
    before = np.asarray(Image.open(target / "1.png"))
    assert main(["purify", f"--model={exported}", *flags]) == 0
    assert (target / "0.png").is_file()
    np.testing.assert_array_equal(np.asarray(Image.open(target / "1.png")), before)
    second = read_predictions(target)
    assert {key for key in first if first[key] != second[key]} == {("0.png", "")}
    assert len((target / "predictions.csv").read_text().splitlines()) == 1 + len(first)
    # Another model whose path ends in the same name and version.
    other = tmp_path.joinpath(*exported.parts[-2:])
    tfdefense.serving.export(BitDepth(toy_model, bits=1), other.parent, version=int(other.name))
    assert main(["purify", f"--model={other}", *flags]) == 0
    third = read_predictions(target)
    assert third.keys() == first.keys()
    assert all(third[key]["model"] != first[key]["model"] for key in first)
    assert set(np.unique(np.asarray(Image.open(target / "1.png")))) <= {0, 255}


@pytest.mark.slow
def test_an_exif_orientation_is_applied(exported, toy_images, tmp_path):
    (tmp_path / "in").mkdir()
    pixels = np.uint8(np.round(255 * toy_images[0, ..., 0]))
    turned = Image.Exif()
    turned[0x0112] = 6  # Turn by 90 degrees.
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "in" / "turned.jpg", exif=turned, quality=100)
    Image.fromarray(pixels).save(tmp_path / "in" / "upright.jpg", quality=100)
    places = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    assert main(["purify", f"--model={exported}", *places]) == 0
    pictures = [
        np.asarray(Image.open(tmp_path / "out" / f"{name}.jpg"), int)
        for name in ("turned", "upright")
    ]
    assert np.abs(pictures[0] - pictures[1]).mean() < 4


@pytest.mark.slow
def test_a_tflite_model_purifies_too(exported_tflite, folder, tmp_path):
    image = io.BytesIO((folder / "1.png").read_bytes())
    places = [f"--input={folder / '1.png'}", f"--output={tmp_path / 'out'}"]
    assert main(["purify", f"--model={exported_tflite.parent}", *places]) == 0
    assert Image.open(tmp_path / "out" / "1.png").size == Image.open(image).size


@pytest.fixture
def places(folder, exported, tmp_path):
    """Paths by their letter in the flags below."""
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "texts").mkdir()
    return {
        "M": exported,
        "I": folder,
        "O": tmp_path / "out",
        "T": tmp_path / "texts",
        "F": tmp_path / "file",
    }


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=M"], "--input: none given"),
        (["--model=nowhere", "--input=I", "--output=O"], "--model=nowhere: no such directory"),
        (["--model=M", "--input=nowhere", "--output=O"], "--input=nowhere: no such file or folder"),
        (["--model=M", "--input=I", "--output=I"], ": is --input itself."),
        (["--model=M", "--input=I", "--output=I/below/out"], "is inside --input"),
        (["--model=M", "--input=I", "--output=F"], "is a file. Give a folder."),
        (["--model=M", "--input=T", "--output=O"], "no .png, .jpg, .jpeg, .jpe, .jfif, .bmp, .gif"),
        (["--model=M", "--input=I", "--output=F/out"], "cannot be written"),
        (
            ["--model=M", "--input=I", "--output=O", "--batch_size=0"],
            "--batch_size=0: at least 1 is needed",
        ),
        (
            ["--model=M", "--input=I", "--output=O", "--timeout=5"],
            "--timeout: only --server takes it",
        ),
        (
            ["--model=M", "--server=here", "--input=I", "--output=O"],
            "--server=here: HOST:PORT (gRPC)",
        ),
        (
            ["--model=M", "--server=h:1", "--timeout=0", "--input=I", "--output=O"],
            "--timeout=0.0: more than 0",
        ),
    ],
)
def test_invalid_flags_are_rejected(flags, message, places, capsys):
    def replace_letter(flag):
        name, _, value = flag.partition("=")
        first, slash, rest = value.partition("/")
        return f"{name}={places.get(first, first)}{slash}{rest}"

    assert main(["purify", *map(replace_letter, flags)]) == 2
    assert message in capsys.readouterr().err
    assert not places["O"].exists()


@pytest.mark.slow
def test_a_tflite_model_that_fails_on_a_batch_is_reported(exported_tflite, toy_images):
    client = open_model(exported_tflite)

    def fail(**_):
        raise RuntimeError("tensorflow/lite/kernels/reshape.cc:92 4 != 3")

    client._run = fail
    with pytest.raises(UserError, match=r"fails on 2 images: .*give a smaller --batch_size"):
        client.predict("serving_default", toy_images[:2])
