"""Every attack against every small model; references are written out in NumPy or by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import ATTACKS, BIM, FGSM, PGD, FGSMPredicted, make
from tfdefense.errors import UserError

ALL = [
    FGSM(epsilon=0.1),
    FGSMPredicted(epsilon=0.1),
    BIM(epsilon=0.1),
    BIM(epsilon=0.1, stop_at_success=True),
    PGD(epsilon=0.1, steps=7),
    PGD(epsilon=0.1, steps=5, restarts=3),
]


class Linear:
    """Logits W x: the gradient of cross-entropy has a closed form."""

    def __init__(self, size: int, classes: int = 3):
        self.weights = tf.random.stateless_normal([size, classes], seed=[1, 2])

    def __call__(self, images):
        return tf.reshape(images, [tf.shape(images)[0], -1]) @ self.weights

    def gradient(self, images, labels):
        logits = images.reshape(len(images), -1) @ self.weights.numpy()
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        probabilities[np.arange(len(labels)), labels] -= 1
        return (probabilities @ self.weights.numpy().T).reshape(images.shape)


@pytest.fixture
def linear():
    return Linear(12 * 12)


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_stays_in_the_ball_and_in_the_image_range(attack, toy_model, toy_split):
    result = attack(toy_model, toy_split.images, toy_split.labels).numpy()
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert np.abs(result - toy_split.images).max() <= 0.1 + 1e-6
    assert np.abs(result - toy_split.images).max() > 0.09


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_eager_and_compiled_agree_for_any_batch(attack, toy_model, toy_split):
    def call(images, labels):
        return attack(toy_model, images, labels)

    shape = tf.TensorSpec([None, 12, 12, 1], tf.float32)
    compiled = tf.function(call, input_signature=[shape, tf.TensorSpec([None], tf.int32)])
    eager = call(tf.constant(toy_split.images), tf.constant(toy_split.labels))
    np.testing.assert_allclose(compiled(toy_split.images, toy_split.labels), eager, atol=1e-5)


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_an_image_does_not_depend_on_the_others(attack, toy_model, toy_split):
    together = attack(toy_model, toy_split.images, toy_split.labels).numpy()
    others = toy_split.images.copy()
    others[3:] = 0.5
    apart = attack(toy_model, others, toy_split.labels).numpy()
    np.testing.assert_allclose(together[:3], apart[:3], atol=1e-6)


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_int64_labels_and_a_batch_of_one(attack, toy_model, toy_split):
    labels = tf.constant(toy_split.labels[:1], tf.int64)
    assert attack(toy_model, toy_split.images[:1], labels).shape == (1, 12, 12, 1)


def test_fgsm_on_a_linear_model_is_the_closed_form(linear, toy_split):
    images, labels = toy_split.images, toy_split.labels
    expected = np.clip(images + 0.2 * np.sign(linear.gradient(images, labels)), 0, 1)
    np.testing.assert_allclose(FGSM(epsilon=0.2)(linear, images, labels), expected, atol=1e-6)


def test_bim_is_the_textbook_loop(linear, toy_split):
    images, labels = toy_split.images, toy_split.labels
    expected = images
    for _ in range(6):
        expected = expected + 0.05 * np.sign(linear.gradient(expected, labels))
        expected = np.clip(np.clip(expected, images - 0.1, images + 0.1), 0, 1)
    attack = BIM(epsilon=0.1, steps=6, relative_step_size=0.5)
    np.testing.assert_allclose(attack(linear, images, labels), expected, atol=1e-6)


def test_fgsm_predicted_ignores_the_labels(toy_model, toy_split):
    predicted = tf.argmax(toy_model(toy_split.images), -1, output_type=tf.int32)
    expected = FGSM(epsilon=0.1)(toy_model, toy_split.images, predicted)
    wrong = (toy_split.labels + 1) % 3
    result = FGSMPredicted(epsilon=0.1)(toy_model, toy_split.images, wrong)
    np.testing.assert_array_equal(result, expected)


def test_epsilon_may_differ_from_image_to_image(toy_model, toy_split):
    epsilon = np.linspace(0, 0.4, 24, dtype=np.float32)
    attack = FGSM(epsilon=tf.constant(epsilon[:, None, None, None]))
    moved = np.abs(attack(toy_model, toy_split.images, toy_split.labels) - toy_split.images)
    np.testing.assert_allclose(moved.max(axis=(1, 2, 3)), epsilon, atol=1e-6)


def test_pgd_repeats_itself_and_follows_its_seed(toy_model, toy_split):
    def run(seed):
        return PGD(epsilon=0.1, steps=2, seed=seed)(toy_model, toy_split.images, toy_split.labels)

    np.testing.assert_array_equal(run(0), run(0))
    assert np.abs(run(0) - run(1)).max() > 0


def test_more_restarts_are_never_weaker(toy_model, toy_split):
    def loss(restarts):
        attack = PGD(epsilon=0.15, steps=3, restarts=restarts)
        logits = toy_model(attack(toy_model, toy_split.images, toy_split.labels))
        return tf.nn.sparse_softmax_cross_entropy_with_logits(toy_split.labels, logits).numpy()

    one, four = loss(1), loss(4)
    assert np.all(four >= one - 1e-5)
    assert four.mean() > one.mean()


def test_stopping_at_success_keeps_every_success(toy_model, toy_split):
    """An iterate that fools is kept, so this can only leave fewer images standing."""

    def standing(attack):
        adversarial = attack(toy_model, toy_split.images, toy_split.labels)
        return np.argmax(toy_model(adversarial), -1) == toy_split.labels

    plain = BIM(epsilon=0.25, steps=10, relative_step_size=1.0)
    stopping = dataclasses.replace(plain, stop_at_success=True)
    assert not np.any(standing(stopping) & ~standing(plain))
    assert not standing(stopping).all()


def test_images_that_are_wrong_already_are_left_alone_by_a_stopping_attack(toy_model, toy_split):
    wrong = (toy_split.labels + 1) % 3
    result = BIM(epsilon=0.1, stop_at_success=True)(toy_model, toy_split.images, wrong)
    np.testing.assert_array_equal(result, toy_split.images)


def test_accuracy_falls_to_zero_as_epsilon_grows(toy_model, toy_split):
    def accuracy(epsilon):
        adversarial = PGD(epsilon=epsilon)(toy_model, toy_split.images, toy_split.labels)
        return np.mean(np.argmax(toy_model(adversarial), -1) == toy_split.labels)

    curve = [accuracy(epsilon) for epsilon in (0.0, 0.1, 0.3, 1.0)]
    assert curve[0] == 1
    assert curve[-1] == 0
    assert curve == sorted(curve, reverse=True)


@pytest.mark.parametrize("name", ATTACKS.names())
@pytest.mark.parametrize("epsilon", [-0.1, 1.5])
def test_epsilon_out_of_range_is_named(name, epsilon):
    with pytest.raises(UserError, match=f"{name}: epsilon {epsilon} given"):
        make(name, epsilon=epsilon)


def test_other_hyperparameters_out_of_range_are_named():
    with pytest.raises(UserError, match="bim: steps 0 given"):
        BIM(steps=0)
    with pytest.raises(UserError, match="relative_step_size -1 given"):
        BIM(relative_step_size=-1)
    with pytest.raises(UserError, match="pgd: restarts 0 given"):
        PGD(restarts=0)


def test_repr_tells_everything_that_ran():
    assert repr(BIM(epsilon=0.3)) == (
        "BIM(epsilon=0.3, steps=10, relative_step_size=0.25, stop_at_success=False)"
    )
