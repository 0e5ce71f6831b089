"""The contract of all attacks, checked on every attack."""

import contextlib
import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.attacks.conftest import CountingModel
from tfdefense.attacks import (
    APGDCE,
    APGDDLR,
    APGDT,
    ATTACKS,
    BIM,
    FABT,
    FGSM,
    JSMA,
    MIM,
    PGD,
    AutoAttack,
    CarliniWagnerL2,
    DeepFool,
    Expectation,
    FGSMPredicted,
    HopSkipJump,
    Square,
    StrongestOf,
    is_bounded,
    make_attack,
)

BOUNDED = [
    FGSM(epsilon=0.2),
    FGSM(epsilon=2.0, norm="l2"),
    FGSMPredicted(epsilon=0.2),
    BIM(epsilon=0.2),
    BIM(epsilon=0.2, stop_at_success=True),
    BIM(epsilon=2.0, norm="l2", steps=5),
    MIM(epsilon=0.2),
    PGD(epsilon=0.2, steps=7, relative_step_size=0.25),
    PGD(epsilon=0.2, steps=5, relative_step_size=0.4, restarts=3, stop_at_success=True),
    PGD(epsilon=0.2, steps=4, relative_step_size=0.5, restarts=2, start="blocks"),
    PGD(epsilon=2.0, steps=5, relative_step_size=0.4, restarts=2, norm="l2"),
    APGDCE(epsilon=0.2, steps=12),
    APGDCE(epsilon=2.0, steps=12, norm="l2", stop_at_success=False),
    APGDDLR(epsilon=0.2, steps=12, restarts=2),
    APGDT(epsilon=0.2, steps=8, target_classes=3),
    FABT(epsilon=0.2, steps=8),
    FABT(epsilon=2.0, steps=8, norm="l2"),
    Square(epsilon=0.3, queries=200),
    Square(epsilon=2.5, queries=200, norm="l2"),
    HopSkipJump(epsilon=0.35, queries=150, initial_evaluations=20),
    HopSkipJump(epsilon=3.0, queries=150, initial_evaluations=20, norm="l2", restarts=2),
    AutoAttack(epsilon=0.2, version="rand"),
]
UNBOUNDED = [
    DeepFool(),
    DeepFool(norm="linf", candidates=3),
    JSMA(theta=0.5, gamma=0.5),
    JSMA(theta=-0.5, gamma=0.5, saliency="logits", targets="second"),
    CarliniWagnerL2(searches=3, steps=20),
    CarliniWagnerL2(searches=3, steps=20, learning_rate=0.2, box="tanh", targets="least_likely"),
    FABT(steps=10, norm="l2"),
    FABT(steps=10),
    HopSkipJump(queries=100),
    HopSkipJump(queries=100, norm="l2"),
    StrongestOf((FGSM(epsilon=0.2), BIM(epsilon=0.2), Square(epsilon=0.2, queries=20))),
]
OTHERS = set(ATTACKS.names()) - {attack.name for attack in BOUNDED + UNBOUNDED}
BOUNDED += [make_attack(name, epsilon=0.2) for name in sorted(OTHERS) if is_bounded(name)]
UNBOUNDED += [make_attack(name) for name in sorted(OTHERS) if not is_bounded(name)]
ALL = BOUNDED + UNBOUNDED
FIRST_OF_ITS_CLASS = {type(attack): attack for attack in reversed(ALL)}
# The daily loop has no attack that consists of others.
DAILY = {kind: attack for kind, attack in FIRST_OF_ITS_CLASS.items() if not attack.has_parts}
# Targets choose operations of a class, which its settings share.
TARGETED = [attack for attack in FIRST_OF_ITS_CLASS.values() if attack.takes_targets]
# Those with given targets draw nothing.
SEEDED = [
    attack
    for attack in FIRST_OF_ITS_CLASS.values()
    if hasattr(attack, "seed") and getattr(attack, "targets", "random") == "random"
]
STOPS_AT_SUCCESS = [
    attack
    for attack in ALL
    if not isinstance(attack, FGSM)
    and getattr(attack, "stop_at_success", attack.name not in OTHERS)
]


def cases(attacks):
    """Return the attacks as parameters; those that the daily loop leaves out are slow."""
    return [
        pytest.param(
            attack,
            id=repr(attack),
            marks=() if DAILY.get(type(attack)) is attack else pytest.mark.slow,
        )
        for attack in attacks
    ]


class SwitchableModel(CountingModel):
    """Model with counters whose gradient can be switched to zero.

    All tests attack one such object. Each attack is therefore compiled only once without targets
    and once with targets.
    """

    def __init__(self, model):
        self.is_flat = tf.Variable(initial_value=False)
        super().__init__(lambda images: model(tf.where(self.is_flat, self.flatten(images), images)))

    @staticmethod
    def flatten(images):
        return tf.sign(images - 0.5) / 2 + 0.5

    @contextlib.contextmanager
    def flat_gradient(self):
        """Switch the gradient to zero at every pixel."""
        self.is_flat.assign(value=True)
        try:
            yield
        finally:
            self.is_flat.assign(value=False)


@pytest.fixture(scope="module")
def model(victim):
    return SwitchableModel(victim)


@pytest.fixture(scope="module")
def run(model, victim_images, victim_labels):
    """Function from an attack to its result on all images without targets."""
    return functools.cache(lambda attack: attack.run(model, victim_images, victim_labels))


@pytest.mark.slow
@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_result_reports_success_and_norms_of_each_image(
    attack, run, victim, victim_images, victim_labels
):
    result = run(attack)
    images = result.images.numpy()
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    perturbation = (images - victim_images).reshape(20, -1)
    l2, linf = np.linalg.norm(perturbation, axis=1), np.abs(perturbation).max(1)
    np.testing.assert_allclose(result.l2, l2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(result.linf, linf, atol=1e-7)
    changed = np.any(images != victim_images, axis=-1).reshape(20, -1).sum(1)
    np.testing.assert_array_equal(result.l0, changed)
    if getattr(attack, "targets", "any") == "any":
        wrong = np.argmax(victim(images), 1) != victim_labels
        np.testing.assert_array_equal(result.success, wrong)
    assert np.asarray(result.success).any()
    assert not np.asarray(result.no_gradient).any()


@pytest.mark.parametrize("attack", cases(BOUNDED))
def test_images_stay_in_the_ball(attack, run):
    result = run(attack)
    size = np.asarray(result.linf if attack.norm == "linf" else result.l2)
    assert size.max() <= attack.epsilon + 1e-5
    assert size.max() > 0.5 * attack.epsilon


@pytest.mark.slow
@pytest.mark.parametrize("attack", FIRST_OF_ITS_CLASS.values(), ids=repr)
def test_attack_can_be_traced_into_another_function(
    attack, model, victim, victim_images, victim_labels
):
    """The settings choose operations of one class; `run` traces those of every attack here."""

    def call(images, labels):
        return attack(victim, images, labels)

    signature = [tf.TensorSpec([None, 10, 10, 2], tf.float32), tf.TensorSpec([None], tf.int64)]
    traced = tf.function(call, input_signature=signature)(
        victim_images[:7], victim_labels[:7].astype(np.int64)
    )
    eager = attack.run(model, victim_images[:7], victim_labels[:7]).images
    np.testing.assert_allclose(traced, eager, atol=2e-4)


@pytest.mark.parametrize("attack", cases(ALL))
def test_result_of_an_image_does_not_depend_on_its_batch(
    attack, run, model, victim_images, victim_labels
):
    together = run(attack).images.numpy()
    rows = np.array([13, 2, 19])
    few = attack.run(model, victim_images[rows], victim_labels[rows]).images
    alone = attack.run(model, victim_images[2:3], victim_labels[2:3]).images
    for found, expected in ((few, together[rows]), (alone, together[2:3])):
        equal = np.isclose(found, expected, atol=2e-4)
        # Of 100 steps that do not stop, the last ones may follow rounding noise.
        assert np.mean(equal) >= (0.99 if getattr(attack, "version", "") == "rand" else 1)


@pytest.mark.slow
@pytest.mark.parametrize("attack", STOPS_AT_SUCCESS, ids=repr)
def test_images_that_already_fool_the_model_are_left_unchanged(
    attack, model, victim_images, victim_labels
):
    wrong = (victim_labels + 1) % 5
    is_aimed = attack in TARGETED or getattr(attack, "targets", "any") != "any"
    targets = {"targets": victim_labels} if is_aimed else {}
    result = attack.run(model, victim_images, wrong, **targets)
    # PGD and APGD evaluate an image only after its random start.
    if not isinstance(attack, (PGD, APGDCE, APGDDLR)):
        np.testing.assert_array_equal(result.images, victim_images)
    assert np.asarray(result.success).all()
    draws = 20 if getattr(attack, "version", "") == "rand" else 1  # Model calls behind a query.
    assert np.asarray(result.queries).max() <= 4 * draws


@pytest.mark.parametrize("attack", cases(ALL))
def test_queries_and_gradients_are_counted_exactly(
    attack, run, model, victim_images, victim_labels
):
    """Finished images cost nothing more, and every evaluation of an image is counted."""
    run(attack)  # Compile first: compiling evaluates a few images, too.
    model.reset()
    result = attack.run(model, victim_images, victim_labels)
    queries_for_success = len(victim_images)
    assert int(model.queries) - queries_for_success == np.sum(result.queries)
    assert int(model.gradients) == np.sum(result.gradients)
    assert np.asarray(result.gradients).any() == attack.uses_gradients


@pytest.mark.slow
@pytest.mark.parametrize("attack", TARGETED, ids=repr)
def test_given_targets_are_approached(attack, model, victim, victim_images, victim_labels):
    targets = ((victim_labels + 2) % 5).astype(np.int32)
    result = attack.run(model, victim_images, victim_labels, targets)
    predicted = np.argmax(victim(result.images), 1)
    np.testing.assert_array_equal(result.success, predicted == targets)
    logits, clean = np.asarray(victim(result.images)), np.asarray(victim(victim_images))
    changes, rows = logits - clean, np.arange(20)
    others = [changes[rows, (victim_labels + k) % 5].mean() for k in (1, 3, 4)]
    assert changes[rows, targets].mean() > max(others)


@pytest.mark.parametrize("attack", cases(SEEDED))
def test_another_seed_gives_other_images(attack, run, model, victim_images, victim_labels):
    other = dataclasses.replace(attack, seed=attack.seed + 1)
    found = other.run(model, victim_images, victim_labels).images
    assert np.any(found != run(attack).images)


@pytest.mark.parametrize("attack", [a for a in ALL if not a.takes_targets], ids=repr)
def test_targets_are_refused_by_attacks_that_take_none(attack, model, victim_images, victim_labels):
    with pytest.raises(ValueError, match="targets given, but this attack takes none"):
        attack(model, victim_images, victim_labels, (victim_labels + 1) % 5)


@pytest.mark.slow
@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_a_gradient_of_zero_is_reported(attack, model, victim_images):
    if not attack.uses_gradients:
        pytest.skip("uses no gradient")

    with model.flat_gradient():
        predicted = np.argmax(model(victim_images), 1).astype(np.int32)
        with pytest.warns(UserWarning, match=f"{attack.name}: the model's gradient is zero"):
            result = attack.run(model, victim_images, predicted)
    assert np.asarray(result.no_gradient).all()


@pytest.mark.parametrize("attack", [FGSM(), PGD(), DeepFool(), JSMA(), FABT()], ids=repr)
def test_a_model_that_is_not_differentiable_is_reported(
    attack, victim, victim_images, victim_labels
):
    def rounded(images):
        return victim(tf.round(images))

    with pytest.raises(ValueError, match=r"no gradient by its images.*bpda"):
        attack(rounded, victim_images, victim_labels)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [BIM(epsilon=0.2), DeepFool(), APGDCE(steps=5)], ids=repr)
def test_every_draw_of_an_expectation_is_counted(attack, victim, victim_images, victim_labels):
    noise = tf.random.Generator.from_seed(0)

    def noisy(images):
        return victim(images + 0.05 * noise.normal(tf.shape(images)))

    counting = CountingModel(noisy)
    expectation = Expectation(counting, draws=4)
    attack.run(expectation, victim_images, victim_labels)
    counting.reset()
    result = attack.run(expectation, victim_images, victim_labels)
    assert int(counting.queries) - 4 * 20 == np.sum(result.queries)
    assert int(counting.gradients) == np.sum(result.gradients)


def test_repr_shows_all_hyperparameters():
    assert repr(BIM(epsilon=0.3)) == (
        "BIM(epsilon=0.3, norm='linf', steps=10, relative_step_size=0.25, stop_at_success=False)"
    )


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_no_image_costs_more_than_the_largest_cost(attack, run, victim_images):
    cost = attack.largest_cost(victim_images.shape[1:], 5)
    result = run(attack)
    assert np.asarray(result.gradients).max() <= cost.gradients
    assert np.asarray(result.queries).max() <= cost.gradients + cost.predictions


@pytest.mark.parametrize("attack", ALL, ids=repr)
def test_the_typical_cost_is_not_above_the_largest(attack):
    for shape, classes in (((28, 28, 1), 10), ((32, 32, 3), 2)):
        largest = attack.largest_cost(shape, classes).in_gradients
        assert 0 < attack.typical_cost(shape, classes) <= largest


@pytest.mark.parametrize("name", ATTACKS.names())
def test_every_registered_attack_knows_its_largest_cost(name):
    attack = make_attack(name)
    cost = attack.largest_cost((28, 28, 1), 10)
    assert (cost.gradients > 0) == attack.uses_gradients
    assert cost.gradients + cost.predictions > 0
