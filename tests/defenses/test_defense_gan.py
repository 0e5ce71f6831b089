import numpy as np
import pytest
import tensorflow as tf

from tests.defenses.textbook import prepared
from tfdefense.attacks.core import per_image_random
from tfdefense.defenses import DefenseGAN
from tfdefense.errors import UserError
from tfdefense.serving import export
from tfdefense.training import Replica

SMALL = {"code_size": 8, "generator_filters": 8, "restarts": 3, "search_steps": 30}


@pytest.fixture(scope="module")
def trained(toy_model, toy_split, repeated_toy_split, tmp_path_factory):
    run = tmp_path_factory.mktemp("defense_gan") / "run"
    defense = DefenseGAN(toy_model, **SMALL, learning_rate=5e-3, critic_learning_rate=1e-2)
    return defense.fit(repeated_toy_split, 30, toy_split, batch_size=24, run=run), run


@pytest.mark.slow
def test_it_reproduces_learned_images(trained, toy_split, toy_model):
    """It reproduces the bars that define the class; the generator cannot produce the noise around them."""
    purified = trained[0].purify(toy_split.images)
    untrained = DefenseGAN(toy_model, **SMALL).purify(toy_split.images)
    error = np.mean((purified - toy_split.images) ** 2)
    assert error < 0.3 * np.mean((untrained - toy_split.images) ** 2)
    assert np.mean(np.argmax(toy_model(purified), -1) == toy_split.labels) > 0.9


@pytest.mark.slow
def test_search_is_gradient_descent_with_momentum(trained, toy_split):
    """Equation (4), one code at a time."""
    defense, _ = trained
    images = tf.constant(toy_split.images[:3])
    codes = tf.random.stateless_normal([3, 8], [1, 2])
    found = defense.search_codes(images, codes).numpy()
    for index in range(3):
        code, velocity = codes[index : index + 1], 0.0
        for step in range(30):
            with tf.GradientTape() as tape:
                tape.watch(code)
                difference = defense.generator(code) - images[index : index + 1]
                error = tf.reduce_mean(difference**2)
            rate = 10.0 if step < 24 else 1.0
            velocity = 0.7 * velocity - rate * tape.gradient(error, code)
            code = code + velocity
        np.testing.assert_allclose(found[index], code[0], rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_the_nearest_of_all_restarts_is_returned(trained, toy_split):
    defense, _ = trained
    images = tf.constant(toy_split.images[:4])
    starts = per_image_random.normal(per_image_random.image_keys(images, 0), [3, 8], stream=0)
    candidates = np.stack(
        [defense.generator(defense.search_codes(images, starts[:, r])) for r in range(3)]
    )
    errors = np.mean((candidates - images) ** 2, axis=(2, 3, 4))
    expected = candidates[np.argmin(errors, axis=0), np.arange(4)]
    np.testing.assert_allclose(defense.purify(images), expected, atol=1e-3)


@pytest.mark.slow
def test_more_restarts_and_steps_do_not_increase_the_error(trained, toy_split, toy_model):
    weights = trained[0].generator.get_weights()

    def error(**given):
        defense = DefenseGAN(toy_model, **{**SMALL, **given})
        defense.generator.set_weights(weights)
        return np.mean((defense.purify(toy_split.images) - toy_split.images) ** 2)

    assert error(restarts=6) <= error(restarts=1)
    assert error(search_steps=60) <= error(search_steps=2)


@pytest.mark.slow
def test_the_result_for_an_image_does_not_depend_on_its_batch(trained, toy_split):
    purify = trained[0].purify
    together = purify(toy_split.images[:4]).numpy()
    alone = np.concatenate([purify(toy_split.images[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-3)


@pytest.mark.slow
def test_its_gradient_is_the_identity(trained, toy_split):
    images = tf.constant(toy_split.images[:2])
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(trained[0].purify(images) * 3.0)
    np.testing.assert_array_equal(tape.gradient(total, images), np.full(images.shape, 3.0))


@pytest.mark.slow
def test_a_finished_run_is_loaded(trained, toy_model, toy_split, repeated_toy_split):
    defense, run = trained
    again = DefenseGAN(toy_model, **SMALL, learning_rate=5e-3, critic_learning_rate=1e-2)
    again.fit(repeated_toy_split, 30, toy_split, batch_size=24, run=run)
    for a, b in zip(again.generator.get_weights(), defense.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_generator_maximises_the_critics_score(toy_model, toy_split):
    """Without momentum, the first step of Adam moves each weight by the sign of its gradient."""
    ours, textbook = (DefenseGAN(toy_model, **SMALL) for _ in range(2))
    ours.prepare(10), textbook.prepare(10)
    replica = Replica(0, tf.constant(0, tf.int64), 24)
    codes = Replica(0, tf.constant(0, tf.int64), 24).normal((8,))
    before = [v.numpy() for v in ours.generator.trainable_variables]
    ours.train_step({"clean": tf.constant(toy_split.images)}, replica)
    with tf.GradientTape() as tape:
        # The critic is updated first.
        loss = -tf.reduce_mean(ours.critic(textbook.generator(codes)))
    gradients = tape.gradient(loss, textbook.generator.trainable_variables)
    after = [v.numpy() for v in ours.generator.trainable_variables]
    for old, new, gradient in zip(before, after, gradients, strict=True):
        large = np.abs(gradient) > 1e-5
        np.testing.assert_array_equal(np.sign(old - new)[large], np.sign(gradient)[large])


def test_the_critic_has_its_own_learning_rate(toy_model):
    defense = prepared(
        DefenseGAN, toy_model, **SMALL, learning_rate=2e-3, critic_learning_rate=7e-3
    )
    assert float(defense.generator_optimizer.learning_rate) == pytest.approx(2e-3)
    assert float(defense.critic_optimizer.learning_rate) == pytest.approx(7e-3)


@pytest.mark.slow
def test_the_exported_model_searches_too(trained, toy_split, tmp_path):
    path = export(trained[0], tmp_path)
    served = tf.saved_model.load(path).signatures["serving_default"]
    images = tf.constant(toy_split.images[:3])
    np.testing.assert_allclose(
        served(images=images)["purified"], trained[0].purify(images), atol=1e-3
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"restarts": 0}, "--restarts=0: at least 1"),
        ({"search_steps": 0}, "--search_steps=0: at least 1"),
        ({"search_rate": 0}, "--search_rate=0: more than 0"),
        ({"search_momentum": 1.0}, r"--search_momentum=1.0: a number in \[0, 1\)"),
        ({"penalty_weight": -1}, "--penalty_weight=-1: 0 or more"),
    ],
)
def test_an_error_names_the_bad_hyperparameter(toy_model, given, message):
    with pytest.raises(UserError, match=message):
        DefenseGAN(toy_model, **given)
