"""Networks that `benchmarks/auto_attack.py` attacks in PyTorch: logits and gradients are ours.

PyTorch is not in the environment of the suite. Name the interpreter of another one:

    export TFDEFENSE_PYTORCH_PYTHON=other/bin/python
    make test ARGS=tests/benchmarks

Otherwise the comparisons are skipped.
"""

import argparse
import importlib
import json
import subprocess

import keras
import numpy as np
import pytest

from tests.docs.markdown import ROOT
from tests.other_python import interpreter
from tfdefense.networks.generator_factory import GeneratorArchitecture, make_generator
from tfdefense.networks.pixel_thresholds import SURROGATES

BENCHMARKS = ROOT / "benchmarks"
CLASSES = 5
# Sizes that no power of two divides, so that images are padded inside.
GENERATORS = {
    "residual_unet": (
        GeneratorArchitecture("residual_unet", None, (4, 6, 8), (1, 2, 0)),
        (10, 15, 3),
    ),
    "small_unet": (GeneratorArchitecture("small_unet", None, (4, 6, 8), None, 3), (13, 10, 2)),
    "small_unet_alone": (GeneratorArchitecture("small_unet", None, (4, 6)), (9, 12, 1)),
}


@pytest.fixture
def tasks(monkeypatch):
    """The module `auto_attack_task` of the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("auto_attack_task")


@pytest.fixture(scope="module")
def pytorch():
    return interpreter("TFDEFENSE_PYTORCH_PYTHON", {"torch": (2,)})


def small_classifier(image_shape):
    first = [
        keras.layers.Conv2D(6, 3, padding="same"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.MaxPooling2D(2),
    ]
    last = [keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    # Some classifiers of the package contain a chain.
    layers = [keras.Input(image_shape), keras.Sequential(first), *last]
    return keras.Sequential(layers, name="small")


def make_task(tasks, name, surrogate):
    """Return a task of networks whose weights, zero biases and gains too, are random."""
    rng = np.random.default_rng(0)
    architecture, image_shape = GENERATORS[name]
    generator, classifier = make_generator(architecture, image_shape), small_classifier(image_shape)
    for weight in (*generator.weights, *classifier.trainable_weights):
        weight.assign(weight + 0.2 * rng.normal(size=weight.shape))
    networks = tasks.Networks(
        lambda images: classifier(generator(images)), classifier, generator, surrogate
    )
    images = rng.random((9, *image_shape), np.float32)
    labels = rng.integers(0, CLASSES, len(images))
    return tasks.Task(networks, images, labels, "linf", 0.1)


def run_peer(python, task, directory):
    """Compare the networks of both libraries."""
    task.save(directory / "task.npz")
    program, result = BENCHMARKS / "auto_attack_peer.py", directory / "result.json"
    command = [python, program, directory / "task.npz", "none", result]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(result.read_text()) if result.is_file() else {}, ended


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "surrogate"),
    [
        ("residual_unet", None),
        ("small_unet_alone", None),
        *(("small_unet", surrogate) for surrogate in SURROGATES.names),
    ],
)
def test_both_networks_have_the_same_logits_and_gradients(
    pytorch, tasks, tmp_path, name, surrogate
):
    found, ended = run_peer(pytorch, make_task(tasks, name, surrogate), tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert found["differences"]["logits"] <= 1e-4
    assert found["differences"]["gradients"] <= 1e-3


@pytest.mark.slow
def test_another_surrogate_gradient_is_noticed(pytorch, tasks, tmp_path):
    task = make_task(tasks, "small_unet", "leaky")
    task.surrogate = "softplus_1"  # The peer still has the settings of "leaky".
    found, ended = run_peer(pytorch, task, tmp_path)
    assert not found
    assert "'gradients'" in ended.stderr


def test_a_task_lists_every_weight_of_its_purifier(tasks):
    for name, (architecture, image_shape) in GENERATORS.items():
        task = make_task(tasks, name, None)
        count = sum(key.startswith("purifier/") for key in task.arrays)
        assert count == len(make_generator(architecture, image_shape).weights)


@pytest.mark.parametrize(
    ("pretrained", "surrogate", "message"),
    [
        (None, "leaky", "--surrogate=leaky: only --pretrained takes it. Leave it out."),
        (
            "apeganpp/mnist/lenet",
            None,
            "--pretrained=apeganpp/mnist/lenet: its generator is encoder_decoder; the peer knows"
            " residual_unet and small_unet.",
        ),
        (
            "robust_purifier/gtsrb/cifar_cnn",
            "leaky",
            "--surrogate=leaky: robust_purifier/gtsrb/cifar_cnn has no thresholds. Leave it out.",
        ),
    ],
)
def test_inputs_without_a_peer_are_refused(tasks, pretrained, surrogate, message):
    arguments = argparse.Namespace(pretrained=pretrained, surrogate=surrogate, run="none")
    with pytest.raises(SystemExit) as error:
        tasks.load_networks(arguments)
    assert error.value.code == message
