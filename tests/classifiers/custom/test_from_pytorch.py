"""Classifiers from PyTorch: logits and input gradients are those of the original."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.docs.markdown import ROOT, blocks
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
    for package in ("torch", "onnxscript", "onnx2tf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: see docs/guides/from-pytorch.md")
    version = importlib.metadata.version("onnxscript")
    if tuple(map(int, version.split(".")[:2])) < (0, 7):
        pytest.skip(f"onnxscript {version} exports Flatten in a form that is converted wrong")
    name = str(tmp_path / "mine")
    exporter = "tests.classifiers.custom.pytorch_models"
    subprocess.run([sys.executable, "-m", exporter, model, name], cwd=ROOT, check=True)
    command = guide("sh")[0].splitlines()[-1].removeprefix("converter/bin/python ")
    subprocess.run([sys.executable, *command.split()], cwd=tmp_path, check=True)
    assert max(compare(name)) < TOLERANCE
    require_original(name)
