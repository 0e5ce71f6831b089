"""A process of test_multi_worker.py: it trains a defence and saves the results in one .npz file."""

import os
import signal
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfdefense
from tests.graphs import GRAPH_OPTIONS
from tfdefense.attacks import BIM
from tfdefense.attacks.core.adversarial_dataset_maker import (
    AdversarialStorage,
    make_adversarial_dataset,
)
from tfdefense.cli.devices import DeviceSelection, selected_devices
from tfdefense.defenses import APEGANPlusPlus
from tfdefense.errors import WorkFailedError
from tfdefense.evaluation.checks.suspicion_probe import SuspicionProbe
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.training import Trainer
from tfdefense.training.checkpoints import Checkpoints
from tfdefense.utils import cluster

SETTINGS = {"epochs": 4, "batch_size": 12, "steps_per_loop": 2}


def make_split():
    draws = np.random.default_rng(0)
    images = 0.3 * draws.random((30, 12, 12, 1), np.float32)
    labels = (np.arange(30) % 3).astype(np.int32)
    for index, label in enumerate(labels):
        images[index, 4 * label : 4 * label + 3] += 0.5
    return tfdefense.data.Split(images, labels, 3, "toy")


def train(classifier, run):
    """Train a defence of the Keras model in the file `classifier`."""
    defense = APEGANPlusPlus(keras.models.load_model(classifier), strengths=(0.2,))
    return defense.fit(make_split(), run=run, validation=make_split(), **SETTINGS)


def training_state(defense):
    """Return all variables that training changes, by name."""
    items = defense.checkpoint_items().items()
    return {
        f"{name} {i}": np.asarray(v) for name, item in items for i, v in enumerate(item.variables)
    }


def attack_results(defense, output):
    """Return adversarial images and predictions; the workers share shards and batches."""
    attack = BIM(epsilon=0.1, steps=5)
    storage = AdversarialStorage(batch_size=8, output=output)
    examples = make_adversarial_dataset(defense.classifier, make_split(), attack, storage)
    pipeline = ModelRunner(defense.defend(), batch_size=8)
    images = pipeline.attack(attack, make_split()).images
    probe = SuspicionProbe(pipeline, make_split())
    cautious = probe.attack(make_split(), epsilon=0.1, steps=5).results
    return {
        "clean changes": probe.scale.values["change"],
        "cautious": cautious.predicted,
        "grey": examples.adversarial,
        "white": images,
        "predicted": pipeline.predict(make_split()),
    }


def is_sigterm_caught():
    """Return whether SIGTERM has a handler, of Python or of C++, in this process (Linux)."""
    status = Path("/proc/self/status").read_text()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def train_and_save(classifier, run, output, die_at=None):
    """Train, and save the results in the file `output`."""
    save = Checkpoints.save
    Checkpoints.save = lambda self, step, **_: save(self, step)  # Without a minimum interval.
    if "TF_CONFIG" not in os.environ:
        with selected_devices(DeviceSelection("one_device")):
            np.savez(output, **training_state(train(classifier, run)))
        return
    run_steps = Trainer.run_steps

    def run_or_die(self, batches, first_step, count):
        if cluster.worker_index() == 1 and die_at is not None and first_step >= die_at:
            while not (run / "checkpoints" / f"ckpt-{first_step}.index").exists():
                time.sleep(0.01)  # The chief is writing it.
            os.kill(os.getpid(), signal.SIGKILL)
        return run_steps(self, batches, first_step, count)

    Trainer.run_steps = run_or_die
    with selected_devices(DeviceSelection("multi_worker")):
        assert not is_sigterm_caught()
        defense = train(classifier, run)
        results = {**training_state(defense), **attack_results(defense, f"{run}-attack")}
    np.savez(output, **results)


def main(place, run, name, config=None, die_at=None):
    """Train as one process, or as one of several workers, which then attack the defence together.

    A checkpoint is saved after every second step.

    Args:
      place: the directory of `classifier.keras`, of the run and of the files of this process:
        `NAME.log` with its text, `NAME.npz` with its results, or `NAME.failed` with the message if
        another worker failed; the exit status is then 1.
      run: the name of the run directory.
      name: NAME.
      config: the value of `TF_CONFIG`; `None` for one process.
      die_at: worker 1 kills itself before this step, or `None`.
    """
    with (place / f"{name}.log").open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if config is not None:
        os.environ["TF_CONFIG"] = config
    tf.config.optimizer.set_experimental_options(GRAPH_OPTIONS)  # As in the process of the tests.
    try:
        train_and_save(place / "classifier.keras", place / run, place / f"{name}.npz", die_at)
    except WorkFailedError as error:
        (place / f"{name}.failed").write_text(str(error))
        sys.exit(1)
