"""A process of test_processes.py: trains, with other workers also judges, and writes down what it got.

    [TF_CONFIG=...] python worker.py CLASSIFIER RUN OUTPUT [STEP AT WHICH THE SECOND WORKER DIES]

A checkpoint is written after every second step.
"""

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np

import tfdefense
from tfdefense.attacks import BIM
from tfdefense.attacks.core.adversarial_dataset import craft
from tfdefense.cli import flags
from tfdefense.defenses import APEGANPlusPlus
from tfdefense.defenses.core import learned_defense
from tfdefense.errors import WorkFailedError
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.training import LoopConfig, Trainer
from tfdefense.utils import cluster

SETTINGS = {"epochs": 4, "batch_size": 12, "steps_per_loop": 2}


class Eager(LoopConfig):
    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "checkpoint_seconds", 0.0)


def split():
    draws = np.random.default_rng(0)
    images = 0.3 * draws.random((30, 12, 12, 1), np.float32)
    labels = (np.arange(30) % 3).astype(np.int32)
    for index, label in enumerate(labels):
        images[index, 4 * label : 4 * label + 3] += 0.5
    return tfdefense.data.Split(images, labels, 3, "toy")


def trained(classifier, run):
    """A defence after training beside that model."""
    defense = APEGANPlusPlus(keras.models.load_model(classifier), strengths=(0.2,))
    return defense.fit(split(), run=run, validation=split(), **SETTINGS)


def state(defense):
    """All that training changes."""
    items = defense.checkpoint_items().items()
    return {
        f"{name} {i}": np.asarray(v) for name, item in items for i, v in enumerate(item.variables)
    }


def judged(defense, output):
    """What comes of attacking it: shared by shards, and by batches."""
    attack = BIM(epsilon=0.1, steps=5)
    examples = craft(defense.classifier, split(), attack, batch_size=8, output=output)
    pipeline = ModelRunner(defense.defend(), batch_size=8)
    images = pipeline.attack(attack, split()).images
    return {"grey": examples.adversarial, "white": images, "predicted": pipeline.predict(split())}


def main(classifier, run, output, die_at=None):
    learned_defense.LoopConfig = Eager
    if "TF_CONFIG" not in os.environ:
        with flags.devices({"strategy": "one_device"}):
            np.savez(output, **state(trained(classifier, run)))
        return
    run_steps = Trainer.run_steps

    def run_or_die(self, iterator, first, count):
        if cluster.worker_index() == 1 and die_at is not None and first >= int(die_at):
            os.kill(os.getpid(), signal.SIGKILL)
        return run_steps(self, iterator, first, count)

    Trainer.run_steps = run_or_die
    with flags.devices({"strategy": "multi_worker"}):
        defense = trained(classifier, run)
        found = {**state(defense), **judged(defense, f"{run}-attack")}
    np.savez(output, **found)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except WorkFailedError as error:
        Path(sys.argv[3]).with_suffix(".failed").write_text(str(error))
        sys.exit(1)
