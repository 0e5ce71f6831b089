"""Readers that know nothing of this library: a reload in Python would hide a broken export."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import SHAPE

SAID = {
    "shape": ("images: shape [24 11 12 1] given, [N, 12, 12, 1] needed.", lambda x: x[:, 1:]),
    "range": ("[0, 1] needed (0-255? divide by 255).", lambda x: 255 * x),
    "NaN": ("or NaN; [0, 1] needed", lambda x: np.where(x == x.max(), np.nan, x)),
    "many": (
        "images: 4104 given, 1 to 4096 in one request",
        lambda x: np.tile(x, (171, 1, 1, 1)),
    ),
}


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


def saved_model_cli(*arguments):
    """TensorFlow's own tool, in a process of its own: the session loader, which TF Serving uses."""
    script = Path(sys.executable).with_name("saved_model_cli")
    return subprocess.run([script, *arguments], capture_output=True, text=True)


def run_cli(exported, signature, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    where = ["run", "--dir", exported, "--tag_set", "serve", "--signature_def", signature]
    given = ["--inputs", f"images={tmp_path / 'images.npy'}", "--outdir", tmp_path, "--overwrite"]
    return saved_model_cli(*where, *given)


def test_saved_model_cli_runs_every_signature(exported, toy_images, expected, tmp_path):
    assert run_cli(exported, "serving_default", toy_images, tmp_path).returncode == 0
    for name, value in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), value, atol=1e-5)
        (tmp_path / f"{name}.npy").unlink()
    run_cli(exported, "purify", toy_images, tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "purified.npy"), expected["purified"], atol=1e-5)
    assert not (tmp_path / "logits.npy").exists()
    run_cli(exported, "classify", expected["purified"], tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected["logits"], atol=1e-5)


def test_saved_model_cli_shows_what_goes_in_and_comes_out(exported):
    shown = saved_model_cli("show", "--dir", exported, "--all").stdout
    for signature in ("serving_default", "purify", "classify", "serving_bytes"):
        assert f"signature_def['{signature}']" in shown
    for needed in ("inputs['images']", "shape: (-1, 12, 12, 1)", "inputs['image_bytes']"):
        assert needed in shown
    for name in ("purified", "perturbation_norm", "logits", "probabilities", "classes"):
        assert f"outputs['{name}']" in shown
    assert "tensorflow/serving/predict" in shown


@pytest.mark.parametrize("what", SAID)
def test_what_is_wrong_with_images_comes_back_as_a_sentence(exported, toy_images, what, tmp_path):
    sentence, spoilt = SAID[what]
    answer = run_cli(exported, "serving_default", spoilt(toy_images).astype(np.float32), tmp_path)
    assert answer.returncode != 0
    assert "InvalidArgumentError" in answer.stderr
    assert sentence in answer.stderr


def test_openvino_agrees(exported, toy_images, expected):
    openvino = pytest.importorskip("openvino")
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # Or it computes in bfloat16 where the CPU can.
    model = openvino.Core().compile_model(exported, "CPU", exact)
    answers = model({"images": toy_images})
    found = {output.any_name: answers[output] for output in model.outputs}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def loader(tmp_path_factory):
    """`load.c`, compiled against the library inside TensorFlow's wheel."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler here")
    program = tmp_path_factory.mktemp("c") / "load"
    library = Path(tf.sysconfig.get_lib())
    source = Path(__file__).with_name("load.c")
    linked = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    include = tf.sysconfig.get_include()
    options = ["-O1", f"-I{include}", f"-L{library}", f"-Wl,-rpath,{library}"]
    subprocess.run(["gcc", source, "-o", program, *options, *linked], check=True)
    return program


def run_c(loader, exported, images, output="purified"):
    saved = tf.compat.v1.saved_model.load
    with tf.compat.v1.Session(graph=tf.Graph()) as session, session.graph.as_default():
        signature = saved(session, ["serve"], str(exported)).signature_def["serving_default"]
    names = [signature.inputs["images"].name, signature.outputs[output].name]
    given = [loader, exported, *names, *map(str, images.shape)]
    return subprocess.run(given, input=images.tobytes(), capture_output=True)


def test_a_c_program_loads_it_as_tf_serving_does(loader, exported, toy_images, expected):
    answer = run_c(loader, exported, toy_images)
    assert answer.returncode == 0, answer.stderr.decode()
    purified = np.frombuffer(answer.stdout, np.float32).reshape(-1, *SHAPE)
    np.testing.assert_allclose(purified, expected["purified"], atol=1e-5)


@pytest.mark.parametrize("what", SAID)
def test_a_c_program_is_told_what_is_wrong(loader, exported, toy_images, what):
    sentence, spoilt = SAID[what]
    answer = run_c(loader, exported, spoilt(toy_images).astype(np.float32))
    assert answer.returncode == 3
    assert sentence in answer.stderr.decode()
