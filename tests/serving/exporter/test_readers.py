"""SavedModels read by other programs: a reload by this library would hide a broken export."""

import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import SHAPE
from tests.serving.conftest import CLASS_NAMES
from tests.serving.load.c_program import compile_with_tensorflow, read_signature
from tests.serving.shown_signatures import documented_signatures, parse_all_signatures
from tests.soak.runtime_backends import open_in_openvino

INVALID = {
    "shape": (lambda x: x[:, 1:], "images: shape [24 11 12 1] given, [N, 12, 12, 1] needed."),
    "range": (lambda x: 255 * x, "given, [0, 1] needed. Divide 0-255 values by 255."),
    "NaN": (lambda x: np.where(x == x.max(), np.nan, x), "(or NaN) given, [0, 1] needed."),
    "count": (
        lambda x: np.tile(x, (171, 1, 1, 1)),
        "images: 4104 given, 1 to 4096 allowed in one request",
    ),
}

# Imports TensorFlow once, and then runs each command of saved_model_cli in a child process.
RUN_SAVED_MODEL_CLI = """
import json, os, sys
from tensorflow.python.tools.saved_model_cli import main

statuses = []
for folder, arguments in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        for stream, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY), stream)
        sys.argv = ["saved_model_cli", *arguments]
        main()
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(statuses))
"""


@pytest.fixture(scope="module")
def expected(served_defense, toy_images):
    purified = np.asarray(served_defense.purify(toy_images))
    logits = np.asarray(served_defense.defend()(toy_images))
    change = (purified - toy_images).reshape(len(toy_images), -1)
    return {
        "purified": purified,
        "perturbation_norm": np.linalg.norm(change, axis=1),
        "logits": logits,
        "probabilities": tf.nn.softmax(logits).numpy(),
        "classes": logits.argmax(-1),
    }


@pytest.fixture(scope="module")
def saved_model_cli(exported, toy_images, expected, tmp_path_factory):
    """Commands of TensorFlow's `saved_model_cli`, whose session loader TF Serving uses too.

    Returns:
      By name: the exit status, the printed texts and the folder of the outputs.
    """
    inputs = {
        "serving_default": ("serving_default", toy_images),
        "purify": ("purify", toy_images),
        "classify": ("classify", expected["purified"]),
        "invalid": ("serving_default", 255 * toy_images),
    }
    folders = {name: tmp_path_factory.mktemp("cli") for name in ("show", *inputs)}
    commands = [(str(folders["show"]), ["show", "--dir", str(exported), "--all"])]
    for name, (signature, images) in inputs.items():
        folder = folders[name]
        np.save(folder / "images.npy", images)
        commands.append(
            (
                str(folder),
                [
                    *("run", "--dir", str(exported)),
                    *("--tag_set", "serve", "--signature_def", signature),
                    *("--inputs", f"images={folder / 'images.npy'}"),
                    *("--outdir", str(folder), "--overwrite"),
                ],
            )
        )
    command = [sys.executable, "-c", RUN_SAVED_MODEL_CLI]
    done = subprocess.run(
        command, input=json.dumps(commands), capture_output=True, text=True, check=True
    )
    return {
        name: types.SimpleNamespace(
            status=status,
            stdout=(folder / "stdout").read_text(),
            stderr=(folder / "stderr").read_text(),
            folder=folder,
        )
        for (name, folder), status in zip(
            folders.items(), json.loads(done.stdout.splitlines()[-1]), strict=True
        )
    }


@pytest.mark.slow
def test_saved_model_cli_runs_every_signature(saved_model_cli, expected):
    assert saved_model_cli["serving_default"].status == 0
    for name, value in expected.items():
        found = np.load(saved_model_cli["serving_default"].folder / f"{name}.npy")
        np.testing.assert_allclose(found, value, atol=1e-5)
    folder = saved_model_cli["purify"].folder
    purified = np.load(folder / "purified.npy")
    np.testing.assert_allclose(purified, expected["purified"], atol=1e-5)
    assert not (folder / "logits.npy").exists()
    logits = np.load(saved_model_cli["classify"].folder / "logits.npy")
    np.testing.assert_allclose(logits, expected["logits"], atol=1e-5)


@pytest.mark.slow
def test_saved_model_cli_shows_inputs_and_outputs(saved_model_cli, served_defense):
    shown = saved_model_cli["show"].stdout
    assert parse_all_signatures(shown) == documented_signatures(served_defense, len(CLASS_NAMES))
    assert "tensorflow/serving/predict" in shown


@pytest.mark.slow
def test_saved_model_cli_prints_the_mistake_in_invalid_images(saved_model_cli):
    """The C program, which reads the same graph, gets every mistake."""
    _, sentence = INVALID["range"]
    assert saved_model_cli["invalid"].status != 0
    assert "InvalidArgumentError" in saved_model_cli["invalid"].stderr
    assert sentence in saved_model_cli["invalid"].stderr


@pytest.mark.slow
def test_openvino_agrees(exported, toy_images, expected, tmp_path):
    pytest.importorskip("openvino")
    found = open_in_openvino(exported, "serving_default", tmp_path)(toy_images)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def c_program(tmp_path_factory, exported):
    """Command that runs `load_saved_model.c`, compiled against TensorFlow's library, on a model."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    program = tmp_path_factory.mktemp("c") / "load_saved_model"
    compile_with_tensorflow([Path(__file__).with_name("load_saved_model.c")], program)
    signature = read_signature(exported)
    return [program, exported, signature.inputs["images"].name, signature.outputs["purified"].name]


def run_c_program(c_program, images):
    command = [*c_program, *map(str, images.shape)]
    return subprocess.run(command, input=images.tobytes(), capture_output=True)


@pytest.mark.slow
def test_a_c_program_loads_the_model_as_tf_serving_does(c_program, toy_images, expected):
    done = run_c_program(c_program, toy_images)
    assert done.returncode == 0, done.stderr.decode()
    purified = np.frombuffer(done.stdout, np.float32).reshape(-1, *SHAPE)
    np.testing.assert_allclose(purified, expected["purified"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", INVALID)
def test_a_c_program_gets_the_mistake_in_invalid_images(c_program, toy_images, mistake):
    change, sentence = INVALID[mistake]
    done = run_c_program(c_program, change(toy_images).astype(np.float32))
    assert done.returncode == 3
    assert sentence in done.stderr.decode()
