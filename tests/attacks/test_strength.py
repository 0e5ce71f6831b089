"""Success of attacks as a function of epsilon, the number of steps and the model's confidence."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.attacks.conftest import SHAPE
from tfdefense.attacks import APGDCE, BIM, FGSM, MIM, PGD, DeepFool, Square


@pytest.mark.slow
@pytest.mark.parametrize("attack", [FGSM, BIM, PGD, APGDCE, Square], ids=lambda a: a.name)
def test_each_image_can_have_its_own_epsilon(attack, victim, victim_images, victim_labels):
    epsilon = np.linspace(0, 0.4, 20, dtype=np.float32)
    options = {"queries": 50} if attack is Square else {}
    options |= {"steps": 5, "relative_step_size": 0.5} if attack in (BIM, PGD) else {}
    mixed = attack(epsilon=tf.constant(epsilon[:, None, None, None]), **options)
    found = mixed(victim, victim_images, victim_labels).numpy()
    size = np.abs(found - victim_images).max(axis=(1, 2, 3))
    np.testing.assert_array_less(size, epsilon + 1e-6)
    for index in (5, 19):
        alone = attack(epsilon=float(epsilon[index]), **options)
        one = alone(victim, victim_images[index : index + 1], victim_labels[index : index + 1])
        np.testing.assert_allclose(found[index], one[0], atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [BIM(), MIM(), PGD(), APGDCE(), Square(queries=300)], ids=repr)
def test_accuracy_falls_to_zero_as_epsilon_grows(attack, victim, victim_images, victim_labels):
    curve = []
    for epsilon in (0.0, 0.1, 0.3, 1.0):
        result = dataclasses.replace(attack, epsilon=epsilon).run(
            victim, victim_images, victim_labels
        )
        curve.append(1 - np.mean(result.success))
    assert curve[0] == 1
    assert curve[-1] == 0
    assert curve == sorted(curve, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [BIM(epsilon=0.15), APGDCE(epsilon=0.15), DeepFool()], ids=repr)
def test_more_steps_are_never_weaker(attack, victim, victim_images, victim_labels):
    success = []
    for steps in (1, 4, 16):
        changed = dataclasses.replace(attack, steps=steps)
        if hasattr(attack, "stop_at_success"):
            changed = dataclasses.replace(changed, stop_at_success=True)
        success.append(np.mean(changed.run(victim, victim_images, victim_labels).success))
    assert success == sorted(success)
    assert success[-1] > success[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    [
        FGSM(epsilon=3.0, norm="l2"),
        BIM(epsilon=3.0, norm="l2", steps=10),
        PGD(epsilon=3.0, norm="l2", steps=10),
        APGDCE(epsilon=3.0, norm="l2", steps=10),
    ],
    ids=lambda attack: attack.name,
)
@pytest.mark.parametrize("confidence", [1.0, 20.0, 40.0])
def test_a_confident_model_is_not_harder_in_l2(attack, confidence):
    """Its gradients are tiny, but have the same direction as those of a less confident model."""
    rng = np.random.default_rng(0)
    weights = tf.constant(rng.standard_normal(200), tf.float32)
    images = 0.5 + 0.01 * rng.standard_normal((6, *SHAPE)).astype(np.float32)

    def model(given):
        flat = tf.reshape(given - 0.5, [-1, 200])
        # The L2 distance from the boundary, with a sign.
        distance = tf.linalg.matvec(flat, weights) / tf.norm(weights) - 0.5
        return confidence * tf.stack([-distance, distance], axis=-1)

    result = attack.run(model, images, np.zeros(6, np.int32))
    assert not np.asarray(result.no_gradient).any()
    assert np.asarray(result.success).all()
