"""Trainings with augmentation: resumed, on two replicas, and whether they learn."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.broken_training import break_at
from tests.conftest import SHAPE
from tfdefense.attacks import PGD
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import APEGAN, AdversarialTraining, RobustPurifier
from tfdefense.defenses.core.training_inputs import TrainingData
from tfdefense.training import LoopConfig
from tfdefense.training.run_directory import RunDirectory

SMALL = {"generator": "small_unet", "widths": (4, 8)}


def fitted(kind, split, broken_step=None, run=None, **given):
    """Return a defence after a short training; stop it with an error at `broken_step`."""
    defense = kind(given.pop("classifier"), seed=2, **given)
    loop = LoopConfig(2, batch_size=8, seed=2, steps_per_loop=2, checkpoint_seconds=0.0)
    if broken_step is not None:
        break_at(defense, broken_step)
    settings = {"defense": defense.name}
    return defense.run_training(TrainingData(split), loop, settings, run and RunDirectory(run))


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(
    toy_model, toy_split, tmp_path
):
    given = {
        "classifier": toy_model,
        "augmentation": "affine",
        "mirror": True,
        "cutout": 3,
        **SMALL,
    }
    expected = fitted(APEGAN, toy_split, **given)
    with pytest.raises(tf.errors.InvalidArgumentError):
        fitted(APEGAN, toy_split, broken_step=4, run=tmp_path / "run", **given)
    resumed = fitted(APEGAN, toy_split, run=tmp_path / "run", **given)
    for a, b in zip(expected.generator.get_weights(), resumed.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [APEGAN, AdversarialTraining])
def test_two_replicas_train_as_one(toy_model, toy_split, two_replicas, tmp_path, kind):
    toy_model.save(tmp_path / "toy.keras")
    own = {APEGAN: SMALL, AdversarialTraining: {"inner_attack": "fgsm"}}[kind]
    given = {**own, "augmentation": "affine", "mirror": True, "learning_rate": 1e-7}

    def trained(strategy):
        with strategy.scope():
            classifier = keras.models.load_model(tmp_path / "toy.keras")
            defense = fitted(kind, toy_split, classifier=classifier, **given)
            optimizers = [v for k, v in vars(defense).items() if k.endswith("optimizer")]
            return [np.asarray(variable) for each in optimizers for variable in each.variables]

    one, two = trained(tf.distribute.OneDeviceStrategy("CPU:0")), trained(two_replicas)
    for alone, shared in zip(one, two, strict=True):
        least = 1e-6 + 1e-4 * np.abs(alone).max()
        np.testing.assert_allclose(shared, alone, rtol=1e-3, atol=least)


@pytest.mark.slow
def test_a_robust_purifier_learns_from_augmented_images(toy_model, toy_split, repeated_toy_split):
    """Mirror images keep their classes, and shifts by one pixel of 12 move a bar by a third of it."""
    given = {"widths": (8, 16), "learning_rate": 1e-2, "inner_epsilon": 0.15, "inner_steps": 3}
    defense = RobustPurifier(toy_model, **given, mirror=True, augmentation="shift")
    defense.fit(repeated_toy_split, epochs=5, batch_size=24)

    def robust_accuracy(model):
        images = PGD(epsilon=0.15)(model, toy_split.images, toy_split.labels)
        return np.mean(np.argmax(model(images), -1) == toy_split.labels)

    undefended = robust_accuracy(FrozenClassifier(toy_model, SHAPE))
    assert robust_accuracy(defense.defend()) > undefended + 0.2
