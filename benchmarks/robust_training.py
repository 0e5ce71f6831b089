"""Images per second of adversarial training: of the purifier alone, and of purifier and classifier.

    .venv/bin/pip install -r benchmarks/requirements-attacks.txt
    .venv/bin/python benchmarks/robust_training.py

All train a small U-Net in front of MNIST-CNN on the same batches of 128 with the same inner attack
(PGD with 5 steps, or one step from a random start), in one process, in turn. `purifier` is
`robust_purifier`, whose classifier is not trained. `whole` is `adversarial_training` of both. `art`
is what ART's AdversarialTrainer does, with a network of the sizes and the attack of `whole`. The first step, which
compiles, is not counted. Ratios are of medians. The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from attack_peers import compile_logits

from tfdefense.classifiers import CLASSIFIERS
from tfdefense.defenses import AdversarialTraining, RobustPurifier
from tfdefense.training import Replica

BATCH = 128
SHAPE = (28, 28, 1)
STEPS = 5


def make_our_step(defense, images, labels):
    """Return a function that runs one training step of a defence."""
    defense.prepare(1_000)
    batch = {"clean": tf.constant(images), "labels": tf.constant(labels)}

    @tf.function(autograph=False)
    def step(number):
        return defense.train_step(batch, Replica(0, number, BATCH))

    return lambda number: [value.numpy() for value in step(tf.constant(number, tf.int64)).values()]


def make_art_step(network, attack, images, labels):
    """Return a function that attacks a batch with ART and trains on the result."""
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import TensorFlowV2Classifier

    optimizer = keras.optimizers.Adam(1e-3)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def train_step(_, images, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, network(images, training=True))
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    classifier = TensorFlowV2Classifier(
        model=compile_logits(network),
        nb_classes=10,
        input_shape=SHAPE,
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        train_step=train_step,
        clip_values=(0, 1),
    )
    steps, size = (STEPS, 0.15) if attack == "pgd" else (1, 0.375)
    inner = ProjectedGradientDescent(
        classifier,
        eps=0.3,
        eps_step=size,
        max_iter=steps,
        num_random_init=1,
        batch_size=BATCH,
        verbose=False,
    )
    hot = np.eye(10, dtype=np.float32)[labels]

    def step(number):
        attacked = inner.generate(images, y=hot)
        classifier.fit(attacked, hot, batch_size=BATCH, nb_epochs=1)

    return step


def make_network():
    """Return a small U-Net and MNIST-CNN as one Keras model."""
    unet = RobustPurifier.config_type().make_generator(SHAPE)
    classifier = CLASSIFIERS.get("mnist_cnn").build(SHAPE, 10)
    images = keras.Input(SHAPE)
    return keras.Model(images, classifier(unet(images)), name="both")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--without_art", action="store_true")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.random((BATCH, *SHAPE), np.float32)
    labels = rng.integers(0, 10, BATCH).astype(np.int32)
    classifier = CLASSIFIERS.get("mnist_cnn").build(SHAPE, 10)
    results = {}
    for attack in ("pgd", "fast"):
        options = {"inner_attack": attack, "inner_steps": STEPS}
        steps = {
            "purifier": make_our_step(RobustPurifier(classifier, **options), images, labels),
            "whole": make_our_step(AdversarialTraining(make_network(), **options), images, labels),
        }
        if not arguments.without_art:
            steps["art"] = make_art_step(make_network(), attack, images, labels)
        seconds = {name: [] for name in steps}
        for number in range(arguments.rounds + 1):
            for name, step in steps.items():
                started = time.perf_counter()
                step(number)
                seconds[name].append(time.perf_counter() - started)
        medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
        results[attack] = {
            "images_per_second": {n: round(BATCH / s) for n, s in medians.items()},
            "times_as_fast_as_purifier": {
                n: round(medians["purifier"] / s, 2) for n, s in medians.items()
            },
        }
        print(json.dumps({"inner_attack": attack, **results[attack]}), flush=True)
    print(json.dumps({"benchmark": "robust_training", "inner_attacks": results}))


if __name__ == "__main__":
    main()
