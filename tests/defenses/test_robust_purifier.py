import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tests.conftest import SHAPE
from tests.defenses.textbook import assert_same_variables
from tfdefense.attacks import FGSM, PGD, Square
from tfdefense.attacks.core import per_image_random
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import RobustPurifier, get_defense_class, robust_purifier
from tfdefense.defenses.core.noise_fgsm import NoiseFGSM
from tfdefense.defenses.core.purifier_validator import PurifierValidator
from tfdefense.errors import UserError
from tfdefense.networks.pixel_thresholds import SURROGATES
from tfdefense.networks.surrogates import use_surrogates
from tfdefense.training import Replica

SMALL = {"widths": (4, 8), "learning_rate": 1e-2}


def batch_of(split):
    return {"clean": tf.constant(split.images), "labels": tf.constant(split.labels)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "attack"),
    [
        ({}, PGD(epsilon=0.3 * 0.5, steps=5, relative_step_size=0.5, seed=4)),
        (
            {"inner_start": "blocks", "inner_steps": 4},
            PGD(epsilon=0.3 * 0.5, steps=4, relative_step_size=0.625, start="blocks", seed=4),
        ),
        (
            {"inner_attack": "fast"},
            PGD(epsilon=0.3 * 0.5, steps=1, relative_step_size=1.25, seed=4),
        ),
        ({"inner_attack": "fgsm", "inner_epsilon": 0.2}, FGSM(epsilon=0.2 * 0.5)),
        (
            {"inner_attack": "nfgsm", "inner_noise": 1.0},
            NoiseFGSM(epsilon=0.3 * 0.5, seed=4, noise=1.0),
        ),
        (
            {"inner_norm": "l2", "inner_steps": 2},
            PGD(epsilon=1.5 * 0.5, steps=2, relative_step_size=1.0, seed=4, norm="l2"),
        ),
    ],
)
def test_a_step_descends_the_loss_under_the_inner_attack(toy_model, toy_split, given, attack):
    """At step 4 of 10 epsilon is half of its final value, because the ramp is the full training."""
    hyperparameters = {**SMALL, "ramp": 1.0, "clip": 0.0, "mse_weight": 0.7, **given}
    ours, textbook = (RobustPurifier(toy_model, seed=3, **hyperparameters) for _ in range(2))
    ours.prepare(10), textbook.prepare(10)
    batch = batch_of(toy_split)
    scalars = ours.train_step(batch, Replica(0, tf.constant(4, tf.int64), 24))
    with use_surrogates(SURROGATES.default):
        attacked = attack(textbook.defend(), toy_split.images, toy_split.labels)
    with tf.GradientTape() as tape:
        purified = textbook.generator(attacked)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(
            batch["labels"], toy_model(purified)
        )
        loss += 0.7 * tf.reduce_mean(tf.square(purified - batch["clean"]))
    variables = textbook.generator.trainable_variables
    textbook.generator_optimizer.apply(tape.gradient(loss, variables), variables)
    np.testing.assert_allclose(scalars["loss"], loss, rtol=1e-4)
    assert_same_variables(
        ours.generator_optimizer, textbook.generator_optimizer, rtol=2e-3, atol=1e-6
    )


@pytest.mark.slow
def test_a_drawn_half_of_the_images_is_attacked_by_the_square_attack(toy_model, toy_split):
    """The draw depends on the image, so replicas agree. Each image is what one of the attacks alone returns."""
    defense = RobustPurifier(toy_model, **SMALL, inner_start="blocks", inner_queries=12)
    images, labels = tf.constant(toy_split.images), tf.constant(toy_split.labels)
    step, fraction = tf.constant(4, tf.int64), tf.constant(0.5)
    shapes = ([None, *SHAPE], tf.float32), ([None], tf.int32), ([], tf.int64), ([], tf.float32)
    signature = [tf.TensorSpec(*each) for each in shapes]
    compiled = tf.function(defense._attack, signature, autograph=False)
    adversarial = compiled(images, labels, step, fraction).numpy()
    inner = PGD(epsilon=0.15, steps=5, relative_step_size=0.5, start="blocks", seed=4)
    square = Square(epsilon=0.15, queries=12, seed=4)
    with use_surrogates(SURROGATES.default):
        alone = [attack(defense.defend(), images, labels) for attack in (inner, square)]
    fits = [np.abs(adversarial - np.asarray(each)).max(axis=(1, 2, 3)) < 1e-5 for each in alone]
    assert np.all(fits[0] | fits[1])
    assert 0.3 < np.mean(fits[0]) < 0.7
    # The choice of the attack is independent of its random start: both signs occur for both.
    keys = per_image_random.image_keys(images, 4)
    first = per_image_random.signs(keys, [1], 0).numpy()[:, 0]
    for fit in fits:
        assert set(first[fit]) == {-1.0, 1.0}
    few = defense._attack(images[5:9], labels[5:9], step, fraction).numpy()
    np.testing.assert_allclose(few, adversarial[5:9], atol=1e-5)
    one = compiled(images[:1], labels[:1], step, fraction)
    np.testing.assert_allclose(one.numpy(), adversarial[:1], atol=1e-5)


@pytest.mark.parametrize("name", SURROGATES.names)
def test_the_pipeline_has_the_surrogate_gradient_of_the_name(toy_model, toy_images, name):
    defense = RobustPurifier(toy_model, seed=3, **SMALL)
    images = tf.constant(toy_images)
    pipeline = functools.partial(defense.pipeline_logits, surrogate=name)

    def gradient(model):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = model(images)[:, 0]
        return tape.gradient(logits, images).numpy()

    with use_surrogates(name):
        expected = gradient(defense.defend())
    np.testing.assert_allclose(gradient(pipeline), expected, rtol=1e-4, atol=1e-6)
    changed = name != SURROGATES.default
    assert np.allclose(gradient(defense.defend()), expected, rtol=1e-2, atol=1e-6) != changed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inner_surrogate", "names"),
    [("softplus_1", {"softplus_1"}), ("drawn", set(SURROGATES.names))],
)
def test_each_step_follows_one_surrogate(toy_model, toy_split, inner_surrogate, names):
    given = {"inner_steps": 2, "inner_surrogate": inner_surrogate}
    defense = RobustPurifier(toy_model, seed=3, **SMALL, **given)
    pipeline = defense.defend()
    images, labels = tf.constant(toy_split.images), tf.constant(toy_split.labels)

    @functools.partial(tf.function, autograph=False)
    def attack_in_training_and_alone(step):
        alone = {}
        for name in SURROGATES.names:
            attack = PGD(epsilon=0.3, steps=2, relative_step_size=1.0, seed=step)
            with use_surrogates(name):
                alone[name] = attack.craft_in_graph(pipeline, images, labels, None).images
        return defense._attack(images, labels, step, tf.constant(1.0)), alone

    found = set()
    for step in range(12):
        attacked, alone = attack_in_training_and_alone(tf.constant(step, tf.int64))
        differing = {name: np.mean(np.abs(each - attacked) > 1e-5) for name, each in alone.items()}
        (nearest,) = [name for name, share in differing.items() if share < 1e-3]
        found.add(nearest)
    assert found == names


@pytest.mark.slow
def test_gan_weight_adds_a_critic_that_is_not_exported(toy_model, toy_split):
    defense = RobustPurifier(toy_model, **SMALL, gan_weight=0.5, inner_steps=1)
    defense.prepare(10)
    critic = [variable.numpy() for variable in defense.critic.trainable_variables]
    scalars = defense.train_step(batch_of(toy_split), Replica(0, tf.constant(0, tf.int64), 24))
    assert {"loss_adversarial", "loss_critic", "gradient_penalty"} <= set(scalars)
    moved = [
        np.any(variable.numpy() != value)
        for variable, value in zip(defense.critic.trainable_variables, critic, strict=True)
    ]
    assert any(moved)
    assert set(defense.networks()) == {"generator"}
    expected = (
        scalars["loss_classification"] + scalars["loss_mse"] + 0.5 * scalars["loss_adversarial"]
    )
    np.testing.assert_allclose(scalars["loss"], expected, rtol=1e-5)


@pytest.mark.slow
def test_it_is_robust_to_white_box_pgd(toy_model, toy_split, repeated_toy_split, tmp_path):
    epsilon = 0.15
    before = [weight.numpy() for weight in toy_model.weights]
    given = {"widths": (8, 16), "learning_rate": 1e-2, "inner_epsilon": epsilon}
    defense = RobustPurifier(toy_model, **given)
    run = tmp_path / "run"
    defense.fit(repeated_toy_split, epochs=12, batch_size=24, validation=toy_split, run=run)
    for weight, value in zip(toy_model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value, "the guarded classifier is never changed")

    def robust_accuracy(model):
        images = PGD(epsilon=epsilon)(model, toy_split.images, toy_split.labels)
        return np.mean(np.argmax(model(images), -1) == toy_split.labels)

    assert (
        robust_accuracy(defense.defend())
        > robust_accuracy(FrozenClassifier(toy_model, SHAPE)) + 0.3
    )
    path = tfdefense.serving.export(defense, tmp_path / "export")
    served = tf.saved_model.load(path).signatures["serving_default"](tf.constant(toy_split.images))
    np.testing.assert_allclose(served["logits"], defense.defend()(toy_split.images), atol=1e-4)


def test_noise_and_mask_change_training_images_only(toy_model, toy_images):
    defense = RobustPurifier(toy_model, **SMALL, noise=0.1, mask=0.25)
    half = tf.fill((4, *SHAPE), 0.5)
    changed = defense._transform(half, Replica(0, tf.constant(0, tf.int64), 4)).numpy()
    assert np.mean(changed == 0) == pytest.approx(0.25, abs=0.1)
    assert np.std(changed[changed > 0]) == pytest.approx(0.1, abs=0.03)
    np.testing.assert_array_equal(defense.purify(toy_images[:4]), defense.purify(toy_images[:4]))


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
def test_earlier_parts_of_a_composition_are_trained_through(toy_model, toy_split):
    composition = get_defense_class("bit_depth+robust_purifier")(
        toy_model, bits=3, widths=(4, 8), inner_steps=1
    )
    composition.fit(toy_split, epochs=1, batch_size=24)
    assert composition.defend()(toy_split.images).shape == (24, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inner_attack": "fasst"}, "unknown --inner_attack 'fasst'. Did you mean 'fast'"),
        ({"inner_norm": "l1"}, "unknown --inner_norm 'l1'"),
        ({"inner_epsilon": 1.5}, "--inner_epsilon=1.5: above 0 and up to 1"),
        ({"inner_norm": "l2", "inner_epsilon": -1.0}, "--inner_epsilon=-1.0: more than 0"),
        ({"ramp": 1.5}, r"--ramp=1.5: a number in \[0, 1\]"),
        ({"mask": -0.5}, "--mask=-0.5"),
        ({"noise": -0.5}, "--noise=-0.5: 0 or more"),
        ({"clip": -1.0}, "--clip=-1.0: 0 or more"),
        ({"widths": (8,)}, "--widths=8: two or more"),
        ({"inner_noise": -1.0}, "--inner_noise=-1.0: 0 or more"),
        ({"inner_start": "block"}, "Did you mean 'blocks'"),
        ({"inner_start": "blocks", "inner_norm": "l2"}, "--inner_start=blocks: only for"),
        ({"inner_queries": -1}, "--inner_queries=-1: 0 or more"),
        ({"inner_attack": "nfgsm", "inner_norm": "l2"}, "--inner_norm=l2: --inner_attack=nfgsm"),
        ({"inner_attack": "nfgsm", "inner_queries": 9}, "--inner_queries=9: not with"),
        ({"auxiliary_weight": 0.5}, "--auxiliary_weight=0.5: only with"),
        ({"blocks": (1, 1)}, "--blocks=1,1: only with --generator=residual_unet"),
        ({"schedule": "cosinus"}, r"unknown --schedule 'cosinus'. Did you mean 'cosine'"),
        ({"weight_decay": -1.0}, "--weight_decay=-1.0: 0 or more"),
        ({"thresholds": -1}, "--thresholds=-1: 0 to 64"),
        ({"inner_surrogate": "softplus"}, "Did you mean 'softplus_1'"),
        ({"inner_surrogate": "true", "thresholds": 0}, "--thresholds=0 has no gradient"),
        ({"inner_surrogate": "drawn", "inner_queries": 9}, "not with --inner_surrogate=drawn"),
        ({"generator": "smal_unet"}, "Did you mean 'small_unet'"),
        ({"learning_rate": 0.0}, "--learning_rate=0.0"),
    ],
)
def test_an_error_names_the_bad_hyperparameter(toy_model, given, message):
    with pytest.raises(UserError, match=message):
        RobustPurifier(toy_model, **given)


COLOUR_RECIPE = {
    "generator": "residual_unet",
    "widths": (4, 8),
    "blocks": (0, 1),
    "inner_attack": "nfgsm",
    "auxiliary_weight": 0.5,
    "schedule": "triangle",
    "weight_decay": 0.01,
    "average": 0.9,
    "learning_rate": 1e-2,
}


@pytest.mark.slow
@pytest.mark.parametrize("thresholds", [0, 3])
def test_the_auxiliary_loss_is_that_of_a_linear_layer_on_the_deepest_features(
    toy_model, toy_split, thresholds
):
    given = {**COLOUR_RECIPE, "ramp": 0.0, "mse_weight": 0.0, "thresholds": thresholds}
    defense = RobustPurifier(toy_model, seed=3, **given)
    defense.prepare(10)
    batch = batch_of(toy_split)
    attack = NoiseFGSM(epsilon=0.3, seed=4)
    with use_surrogates(*([SURROGATES.default] if thresholds else [])):
        attacked = attack(defense.defend(), toy_split.images, toy_split.labels)
    kernel, bias = (np.array(weight) for weight in defense.auxiliary_head.weights)
    unet, seen = defense.generator, attacked
    if thresholds:
        layer, unet = defense.generator.layers
        seen = layer(attacked)
    purified, features = unet.purify_and_encode(seen)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    auxiliary = loss(batch["labels"], features.numpy() @ kernel + bias)
    expected = loss(batch["labels"], toy_model(purified)) + 0.5 * auxiliary
    scalars = defense.train_step(batch, Replica(0, tf.constant(4, tf.int64), 24))
    np.testing.assert_allclose(scalars["loss_auxiliary"], auxiliary, rtol=1e-4)
    np.testing.assert_allclose(scalars["loss"], expected, rtol=1e-4)
    assert np.any(np.array(defense.auxiliary_head.kernel) != kernel)


@pytest.mark.slow
def test_training_with_the_colour_recipe_resumes_bit_by_bit(toy_model, toy_split, tmp_path):
    """Also the probe, which keeps the best weights, and the average of the weights."""

    def train(directory, epochs_before_the_interruption=None):
        defense = RobustPurifier(toy_model, seed=3, **COLOUR_RECIPE, inner_surrogate="drawn")
        if epochs_before_the_interruption is not None:
            interrupt_after(defense, epochs_before_the_interruption)
        return defense.fit(toy_split, epochs=4, validation=toy_split, run=directory, batch_size=8)

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", 2)
    resumed = train(tmp_path / "parts")
    for ours, theirs in zip(resumed.generator.weights, whole.generator.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def interrupt_after(defense, validations):
    """Raise KeyboardInterrupt in the validation after this number of validations."""
    make_validator, count = defense.make_validator, 0

    def make_interrupted(validation):
        validate = make_validator(validation)

        def validate_or_interrupt():
            nonlocal count
            count += 1
            if count > validations:
                raise KeyboardInterrupt
            return validate()

        return validate_or_interrupt

    defense.make_validator = make_interrupted


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
def test_a_composition_keeps_the_most_robust_weights_too(toy_model, toy_split, monkeypatch):
    """The part's accuracies under PGD are 80 %, 90 % and 10 %: training has collapsed."""
    accuracies, weights = iter([0.8, 0.9, 0.1]), []
    composition = get_defense_class("bit_depth+robust_purifier")(toy_model, bits=3, **COLOUR_RECIPE)
    purifier = composition.parts[1]

    def validate():
        weights.append(purifier.generator.get_weights())
        return {"accuracy_pgd": next(accuracies)}, {}

    monkeypatch.setattr(robust_purifier, "make_robust_validator", lambda *_: validate)
    composition.fit(toy_split, epochs=9, validation=toy_split, batch_size=24)
    assert composition.should_stop
    assert len(weights) == 3
    for kept, best in zip(purifier.generator.get_weights(), weights[1], strict=True):
        np.testing.assert_array_equal(kept, best)


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
def test_all_figures_of_a_validation_are_those_of_the_averaged_weights(
    toy_model, toy_split, monkeypatch
):
    purifier_weights, all_weights = [], []
    composition = get_defense_class("bit_depth+robust_purifier")(toy_model, bits=3, **COLOUR_RECIPE)
    generator = composition.parts[1].generator

    def validate():
        purifier_weights.append(generator.get_weights())
        return {"accuracy_pgd": 0.9}, {}

    def validate_all(self):
        all_weights.append(generator.get_weights())
        return {}, {}

    monkeypatch.setattr(robust_purifier, "make_robust_validator", lambda *_: validate)
    monkeypatch.setattr(PurifierValidator, "__call__", validate_all)
    composition.fit(toy_split, epochs=3, validation=toy_split, batch_size=24)
    assert len(all_weights) == 3
    for ours, theirs in zip(all_weights, purifier_weights, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["magnet+robust_purifier", "apegan+robust_purifier"])
def test_nfgsm_is_refused_if_another_part_learns_too(toy_model, toy_split, tmp_path, name):
    composition = get_defense_class(name)(toy_model, inner_attack="nfgsm")
    with pytest.raises(UserError, match=r"--inner_attack=nfgsm: --defense=.* trains 2 parts"):
        composition.fit(toy_split, epochs=1, validation=toy_split, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_head_of_the_auxiliary_loss_is_not_clipped(toy_model, toy_split):
    moments = []
    for clip in (0.0, 1e-6):
        defense = RobustPurifier(toy_model, seed=3, **COLOUR_RECIPE, clip=clip)
        defense.prepare(10)
        defense.train_step(batch_of(toy_split), Replica(0, tf.constant(4, tf.int64), 24))
        optimizers = defense.head_optimizer, defense.generator_optimizer
        moments.append([np.abs(each._momentums[0].numpy()).max() for each in optimizers])
    (head, generator), (head_clipped, generator_clipped) = moments
    assert head_clipped == head > 1e-4
    assert generator_clipped < 1e-6 < generator


def test_a_training_that_can_collapse_needs_validation_images(toy_model, toy_split):
    defense = RobustPurifier(toy_model, **COLOUR_RECIPE)
    with pytest.raises(UserError, match="validation"):
        defense.fit(toy_split, epochs=1, batch_size=24)
