"""The trainings of this library that `train_step.py` times, and their cost."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
import tensorflow as tf

from tfdefense.classifiers import CLASSIFIERS, ClassifierConfig, ClassifierTraining
from tfdefense.data.core.dataset import Dataset, Split
from tfdefense.defenses import DEFENSES
from tfdefense.defenses.core.robust_purifier_config import COLOR_RECIPE
from tfdefense.training import LoopConfig, Trainer

BATCH, IMAGES, INNER_STEPS = 128, 1_024, 5
SHAPE = (28, 28, 1)  # Of the images of the GAN purifiers.
_STEPS = 100_000


class OurTraining:
    """Training by this library on random images.

    Args:
      name: a defence or classifier of `TRAININGS`.
      precision: float32 or bfloat16.
      batch_size: images in a step.

    Attributes:
      networks: the networks that learn.
      arrays: what a step needs of each image.
      flop: floating-point operations for one image.
    """

    def __init__(self, name, precision="float32", batch_size=BATCH):
        self.networks, self.flop, task, self.arrays = TRAININGS[name](name)
        config = LoopConfig(epochs=1, batch_size=batch_size, mixed_precision=precision)
        self.trainer = Trainer(task, config)
        self.iterator = self.trainer.make_iterator(self.arrays)

    def seconds(self, steps):
        started = time.perf_counter()
        self.trainer.run_steps(self.iterator, 0, steps)
        return time.perf_counter() - started


def count_multiplications(network, shape, inputs=1):
    """Return the multiplications of a network's convolutions and dense layers for one image.

    Args:
      network: a function of `inputs` tensors.
      shape: (H, W, C) of each of them.
      inputs: their number.
    """
    traced = tf.function(lambda *images: network(*images))
    specs = [tf.TensorSpec([1, *shape])] * inputs
    total = 0
    for operation in traced.get_concrete_function(*specs).graph.get_operations():
        transposed = operation.type == "Conv2DBackpropInput"
        if transposed or operation.type == "Conv2D":
            pixels = (operation.inputs[2] if transposed else operation.outputs[0]).shape[1:3]
            total += int(np.prod(pixels)) * int(np.prod(operation.inputs[1].shape))
        elif operation.type == "MatMul":
            total += int(np.prod(operation.inputs[1].shape))
    return total


def make_gan(name):
    """Return the training of a GAN purifier before MNIST-CNN."""
    shape = SHAPE
    classifier = CLASSIFIERS.get("mnist_cnn").build(shape, 10)
    defense = DEFENSES.get(name)(classifier)
    defense.prepare(steps=_STEPS)
    draws = np.random.default_rng(0)
    arrays = {
        "clean": draws.random((IMAGES, *shape), np.float32),
        "direction": draws.choice(np.array([-1, 1], np.int8), (IMAGES, *shape)),
        "labels": draws.integers(0, 10, IMAGES).astype(np.int32),
    }
    other = defense.critic if name == "apeganpp" else defense.discriminator
    generator_cost = count_multiplications(defense.generator, shape)
    classifier_cost = count_multiplications(classifier, shape)
    other_cost = count_multiplications(other, shape, inputs=2 if name == "cgan" else 1)
    # Generator: forward pass, weight gradient, input gradient. Critic: these three for two images,
    # four passes for the penalty (forward, input gradient, and both derivatives of that), forward and
    # input gradient for the generator's loss. Classifier: forward and input gradient.
    passes = 6 + 2 + (4 if name == "apeganpp" else 0)
    multiplications = 3 * generator_cost + passes * other_cost + 2 * classifier_cost
    return [defense.generator, other], 2 * multiplications, defense, arrays


def make_classifier(name):
    """Return the training of a classifier on 32x32x3 with SGD, without augmentation."""
    shape = (32, 32, 3)
    draws = np.random.default_rng(0)
    images = draws.random((IMAGES, *shape), np.float32)
    split = Split(images, draws.integers(0, 10, IMAGES).astype(np.int32), 10)
    config = ClassifierConfig(
        optimizer="sgd", learning_rate=1e-3, augmentation="none", epochs=_STEPS, batch_size=BATCH
    )
    data = Dataset("random", split, split.take(10), split.take(10), tuple("0123456789"))
    training = ClassifierTraining(CLASSIFIERS.get(name), data, config=config)
    multiplications = 3 * count_multiplications(training.model, shape)
    return [training.model], 2 * multiplications, training, training.training_arrays()


def make_robust_purifier(name):
    """Return the training of a robust purifier before CIFAR-CNN.

    Args:
      name: `robust_purifier`, against five steps of PGD, or `color_purifier`, with
        `--recipe=color`.
    """
    shape = (32, 32, 3)
    classifier = CLASSIFIERS.get("cifar_cnn").build(shape, 10)
    if name == "color_purifier":
        steps = 1
        settings = {key: value for key, value in COLOR_RECIPE.items() if key != "epochs"}
    else:
        steps = INNER_STEPS
        settings = {"inner_attack": "pgd", "inner_steps": steps}
    defense = DEFENSES.get("robust_purifier")(classifier, **settings)
    defense.prepare(steps=_STEPS)
    draws = np.random.default_rng(0)
    arrays = {
        "clean": draws.random((IMAGES, *shape), np.float32),
        "labels": draws.integers(0, 10, IMAGES).astype(np.int32),
    }
    purifier_cost = count_multiplications(defense.generator, shape)
    # Each inner step: forward and input gradient. The update: the weight gradient in addition.
    passes = 2 * steps + 2
    multiplications = passes * (purifier_cost + count_multiplications(classifier, shape))
    return [defense.generator], 2 * (multiplications + purifier_cost), defense, arrays


TRAININGS = {
    "apegan": make_gan,
    "apeganpp": make_gan,
    "cgan": make_gan,
    "cifar_cnn": make_classifier,
    "resnet18": make_classifier,
    "robust_purifier": make_robust_purifier,
    "color_purifier": make_robust_purifier,
}


def count_parameters(network: keras.Layer):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)
