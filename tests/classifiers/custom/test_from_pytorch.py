"""Classifiers from PyTorch: logits and input gradients are those of the original.

The packages of the guide do not fit into the environment of the suite. To try the guide, make the
two environments that it describes, and name their interpreters:

    export TFDEFENSE_PYTORCH_PYTHON=exporter/bin/python
    export TFDEFENSE_ONNX2TF_PYTHON=converter/bin/python
    make test ARGS=tests/classifiers/custom/test_from_pytorch.py

Otherwise `test_the_guide_converts` is skipped.
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.docs.markdown import ROOT, blocks
from tests.other_python import interpreter
from tfdefense.classifiers.custom.saved_model_layer import freeze_saved_model

CASE = Path(__file__).parent / "cases" / "from_pytorch"
TOLERANCE = 1e-4


def require_equal(found, expected):
    """Compare arrays relative to the largest value."""
    assert np.max(np.abs(found - expected)) <= TOLERANCE * np.max(np.abs(expected))


def require_original(name):
    """Compare a converted model, as the project reads it, with what the original gave."""
    expected = np.load(f"{name}.npz")
    network, shape = freeze_saved_model(Path(name))
    assert shape == (None, 16, 16, 3)
    images = tf.constant(expected["images"].transpose(0, 2, 3, 1))
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = network.layer(images)
        total = tf.reduce_sum(expected["weights"] * logits)
    require_equal(logits, expected["logits"])
    gradients = tf.transpose(tape.gradient(total, images), [0, 3, 1, 2])
    require_equal(gradients, expected["gradients"])


def guide(language):
    page = ROOT / "docs" / "guides" / "from-pytorch.md"
    return [block.text for block in blocks(page) if block.language == language]


def compare(name):
    """Run the comparison of the guide."""
    functions = {}
    exec(guide("python")[1], functions)
    return functions["compare"](name)


# Written by the guide's code and command from `mobile_block` of pytorch_models.py.
def test_a_converted_model_has_the_logits_and_gradients_of_the_original():
    require_original(CASE / "mobile_block")


def test_the_guides_comparison_finds_differences(tmp_path):
    assert max(compare(CASE / "mobile_block")) < TOLERANCE
    arrays = dict(np.load(CASE / "mobile_block.npz"))
    (tmp_path / "mobile_block").symlink_to(CASE / "mobile_block")
    np.savez(tmp_path / "mobile_block.npz", **{**arrays, "gradients": 1.01 * arrays["gradients"]})
    logits, gradients = compare(tmp_path / "mobile_block")
    assert logits < TOLERANCE < gradients


@pytest.mark.slow
@pytest.mark.parametrize("model", ["convolutions", "mobile_block", "residual_block"])
def test_the_guide_converts(model, tmp_path):
    # onnxscript 0.6 exports Flatten in a form that is converted wrong.
    exporter = interpreter(
        "TFDEFENSE_PYTORCH_PYTHON", {"torch": (2,), "onnx": (1, 23), "onnxscript": (0, 7)}
    )
    converter = interpreter("TFDEFENSE_ONNX2TF_PYTHON", {"onnx2tf": (2, 6)})
    name = str(tmp_path / "mine")
    export = [exporter, "-m", "tests.classifiers.custom.pytorch_models", model, name]
    subprocess.run(export, cwd=ROOT, check=True)
    arguments = guide("sh")[0].splitlines()[-1].removeprefix("converter/bin/python ")
    subprocess.run([converter, *arguments.split()], cwd=tmp_path, check=True)
    assert max(compare(name)) < TOLERANCE
    require_original(name)
