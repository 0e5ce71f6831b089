"""bin/purify: here, and through both ports of a server."""

import csv
import io
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tests.serving.stand_in as stand_in
import tfdefense
from tests.conftest import SHAPE
from tfdefense.cli.main import main
from tfdefense.defenses import BitDepth
from tfdefense.serving import open_model
from tfdefense.serving.client.predictions import Predictions


@pytest.fixture(scope="module")
def server(exported):
    with stand_in.serving(exported) as addresses:
        yield dict(zip(("grpc", "rest"), addresses, strict=True))


@pytest.fixture(params=["local", "grpc", "rest"])
def where(request, exported, server):
    """The flags that name the model: here, and through each port."""
    if request.param == "local":
        return [f"--model={exported.parent}"]
    return [f"--model={stand_in.NAME}", f"--server={server[request.param]}"]


@pytest.fixture
def folder(toy_images, tmp_path):
    """PNGs, JPEGs and archives, three of them damaged, and a file of no concern."""
    root = tmp_path / "in"
    (root / "below").mkdir(parents=True)
    pixels = np.uint8(np.round(255 * toy_images))
    for index in range(10):
        Image.fromarray(pixels[index, ..., 0]).save(root / f"{index}.png")
    Image.fromarray(pixels[10, ..., 0]).convert("RGB").save(root / "below" / "colour.JPG")
    np.savez(root / "many.npz", images=pixels[..., 0], labels=np.arange(24))
    np.savez(root / "floats.npz", x=toy_images[:5])
    (root / "cut.png").write_bytes((root / "1.png").read_bytes()[:50])
    (root / "empty.jpg").write_bytes(b"")
    np.savez(root / "nan.npz", x=np.where(toy_images > 1, toy_images, np.nan))
    (root / "notes.txt").write_text("nothing")
    return root


def rows_of(target):
    with (target / "predictions.csv").open() as file:
        return {(row["file"], row["index"]): row for row in csv.DictReader(file)}


def test_a_folder_comes_back_purified(where, folder, exported, toy_images, tmp_path, capsys):
    target = tmp_path / "out"
    command = ["purify", *where, f"--input={folder}", f"--output={target}", "--batch_size=4"]
    assert main(command) == 1
    said = capsys.readouterr()
    assert f"Skipped {folder / 'cut.png'}: Invalid PNG data" in said.out
    assert f"Skipped {folder / 'empty.jpg'}: image_bytes: 0 bytes given" in said.out
    assert f"Skipped {folder / 'nan.npz'}: images 0 to 3: images: values from" in said.out
    assert "3 of 16 files skipped" in said.err

    model = open_model(exported)
    grey = np.float32(np.round(255 * toy_images) / 255)
    wanted = model.predict("serving_default", grey)
    rows = rows_of(target)
    assert len(rows) == 10 + 1 + 24 + 5
    for index in range(10):
        picture = np.asarray(Image.open(target / f"{index}.png"))
        np.testing.assert_allclose(picture, 255 * wanted["purified"][index, ..., 0], atol=0.51)
        row = rows[f"{index}.png", ""]
        assert int(row["class"]) == wanted["classes"][index]
        assert float(row["perturbation_norm"]) == pytest.approx(
            wanted["perturbation_norm"][index], abs=1e-4
        )
        assert float(row["probability"]) == pytest.approx(
            wanted["probabilities"][index].max(), abs=1e-4
        )
        assert row["class_name"] in (
            ("up", "middle", "down") if "--server" not in str(where) else ("",)
        )
    assert Image.open(target / "below" / "colour.JPG").size == SHAPE[:2]
    with np.load(target / "many.npz") as archive:
        assert archive["images"].dtype == np.uint8
        np.testing.assert_allclose(archive["images"], 255 * wanted["purified"][..., 0], atol=0.51)
        np.testing.assert_array_equal(archive["labels"], np.arange(24))
    with np.load(target / "floats.npz") as archive:
        exact = model.predict("serving_default", toy_images[:5])["purified"]
        np.testing.assert_allclose(archive["x"], exact, atol=1e-5)
    assert not (target / "cut.png").exists()
    assert not list(target.rglob("*.partial"))


def test_the_same_command_goes_on(folder, exported, tmp_path, capsys, monkeypatch):
    for name in ("cut.png", "empty.jpg", "nan.npz"):
        (folder / name).unlink()
    target = tmp_path / "out"
    command = [
        "purify",
        f"--model={exported}",
        f"--input={folder}",
        f"--output={target}",
        "--batch_size=2",
    ]
    asked = []
    predict = type(open_model(exported)).predict

    def killed_at_the_third(self, signature, values):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(len(values))
        return predict(self, signature, values)

    monkeypatch.setattr(type(open_model(exported)), "predict", killed_at_the_third)
    assert main(command) == 130
    assert len(rows_of(target)) == 6
    with (target / "predictions.csv").open("a") as file:
        file.write("6.png,,apeg")  # Cut off in the middle of a line.

    def counted(self, signature, values):
        asked.append(len(values))
        return predict(self, signature, values)

    monkeypatch.setattr(type(open_model(exported)), "predict", counted)
    asked.clear()
    assert main(command) == 0
    assert sum(asked) == 5 + 24 + 5
    assert len(rows_of(target)) == 11 + 24 + 5
    asked.clear()
    assert main(command) == 0
    assert asked == []
    assert main([*command, "--overwrite"]) == 0
    assert sum(asked) == 11 + 24 + 5
    assert len(rows_of(target)) == 11 + 24 + 5
    assert "13 files" in capsys.readouterr().out


def test_another_model_of_the_same_name_and_other_bytes_of_the_same_name_are_not_done(
    exported, toy_model, folder, tmp_path, monkeypatch
):
    for name in ("cut.png", "empty.jpg", "nan.npz"):
        (folder / name).unlink()
    target = tmp_path / "out"
    flags = [f"--input={folder}", f"--output={target}"]
    assert main(["purify", f"--model={exported}", *flags]) == 0
    first = rows_of(target)
    picture = Image.open(folder / "0.png")
    Image.fromarray(255 - np.asarray(picture)).save(folder / "0.png")
    add = Predictions.add

    def killed_after_its_line(*given):
        add(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Predictions, "add", killed_after_its_line)
        assert main(["purify", f"--model={exported}", *flags]) == 130
    before = np.asarray(Image.open(target / "1.png"))
    assert main(["purify", f"--model={exported}", *flags]) == 0
    assert (target / "0.png").is_file()
    np.testing.assert_array_equal(np.asarray(Image.open(target / "1.png")), before)
    second = rows_of(target)
    assert {key for key in first if first[key] != second[key]} == {("0.png", "")}
    assert len((target / "predictions.csv").read_text().splitlines()) == 1 + len(first)
    other = tmp_path.joinpath(*exported.parts[-2:])
    tfdefense.serving.export(BitDepth(toy_model, bits=1), other.parent, version=int(other.name))
    assert main(["purify", f"--model={other}", *flags]) == 0
    third = rows_of(target)
    assert third.keys() == first.keys()
    assert all(third[key]["model"] != first[key]["model"] for key in first)
    assert set(np.unique(np.asarray(Image.open(target / "1.png")))) <= {0, 255}


def test_a_noted_orientation_is_followed(exported, toy_images, tmp_path):
    (tmp_path / "in").mkdir()
    pixels = np.uint8(np.round(255 * toy_images[0, ..., 0]))
    turned = Image.Exif()
    turned[0x0112] = 6  # Turn by 90 degrees to see it upright.
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "in" / "turned.jpg", exif=turned, quality=100)
    Image.fromarray(pixels).save(tmp_path / "in" / "upright.jpg", quality=100)
    assert (
        main(
            [
                "purify",
                f"--model={exported}",
                f"--input={tmp_path / 'in'}",
                f"--output={tmp_path / 'out'}",
            ]
        )
        == 0
    )
    pictures = [
        np.asarray(Image.open(tmp_path / "out" / f"{name}.jpg"), int)
        for name in ("turned", "upright")
    ]
    assert np.abs(pictures[0] - pictures[1]).mean() < 4


def closed_port():
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        return unused.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_server_that_is_not_there_is_named(scheme, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    address = f"{scheme}localhost:{closed_port()}"
    flags = [
        f"--server={address}",
        "--model=ape",
        f"--input={folder}",
        f"--output={tmp_path / 'out'}",
    ]
    assert main(["purify", *flags]) == 2
    said = capsys.readouterr().err
    assert f"--server={address}: no server answers there. To start one: docker run" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("port", ["grpc", "rest"])
def test_a_model_that_the_server_does_not_serve_is_named(port, server, folder, tmp_path, capsys):
    flags = [
        f"--server={server[port]}",
        "--model=other",
        f"--input={folder}",
        f"--output={tmp_path / 'out'}",
    ]
    assert main(["purify", *flags]) == 2
    assert "model 'other': " in capsys.readouterr().err


@pytest.mark.parametrize("port", ["grpc", "rest"])
def test_a_server_of_something_else_is_named(port, folder, tmp_path, capsys, toy_model):
    toy_model.export(tmp_path / "1", verbose=False)
    with stand_in.serving(tmp_path / "1") as addresses:
        address = addresses[port == "rest"]
        flags = [
            f"--server={address}",
            f"--model={stand_in.NAME}",
            f"--input={folder}",
            f"--output={tmp_path / 'out'}",
        ]
        assert main(["purify", *flags]) == 2
    said = capsys.readouterr().err
    assert "not a model of bin/export: its serving_default takes" in said
    assert "output_0" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model=M"], "--input: none given"),
        (["--model=nowhere", "--input=I", "--output=O"], "--model=nowhere: no such directory"),
        (["--model=M", "--input=nowhere", "--output=O"], "--input=nowhere: no such file or folder"),
        (["--model=M", "--input=I", "--output=I"], "lies in --input"),
        (["--model=M", "--input=I", "--output=I/below/out"], "lies in --input"),
        (["--model=M", "--input=T", "--output=O"], "no .png, .jpg, .jpeg, .npz there"),
        (["--model=M", "--input=I", "--output=F/out"], "cannot be written"),
        (
            ["--model=M", "--input=I", "--output=O", "--batch_size=0"],
            "--batch_size=0: at least 1 needed",
        ),
        (
            ["--model=M", "--input=I", "--output=O", "--timeout=5"],
            "--timeout: only --server has one",
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
def test_bad_flags(flags, said, folder, exported, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "texts").mkdir()
    places = {
        "M": exported,
        "I": folder,
        "O": tmp_path / "out",
        "T": tmp_path / "texts",
        "F": tmp_path / "file",
    }

    def filled(flag):
        name, _, value = flag.partition("=")
        first, slash, rest = value.partition("/")
        return f"{name}={places.get(first, first)}{slash}{rest}"

    assert main(["purify", *map(filled, flags)]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_tflite_model_purifies_too(served_defense, folder, tmp_path):
    from tfdefense.serving import Variant, export

    export(served_defense, tmp_path / "lite", Variant("tflite"))
    image = io.BytesIO((folder / "1.png").read_bytes())
    assert (
        main(
            [
                "purify",
                f"--model={tmp_path / 'lite'}",
                f"--input={folder / '1.png'}",
                f"--output={tmp_path / 'out'}",
            ]
        )
        == 0
    )
    assert Image.open(tmp_path / "out" / "1.png").size == Image.open(image).size


def test_mixed_requests_get_right_answers_or_clear_errors(exported):
    """The short form of `tests/soak/serving_load.py`."""
    command = [
        sys.executable,
        "-m",
        "tests.soak.serving_load",
        f"--model={exported}",
        "--requests=200",
    ]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["requests"], result["wrong"]) == (200, 0)
    assert 50 < result["refused"] < 195
