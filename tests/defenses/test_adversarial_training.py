import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tests.conftest import SHAPE
from tests.defenses.textbook import assert_same_variables
from tfdefense.attacks import FGSM, PGD
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import AdversarialTraining, adversarial_training
from tfdefense.errors import UserError
from tfdefense.experiments.load import load_defense
from tfdefense.training import Replica
from tfdefense.training.checkpoints import Checkpoints
from tfdefense.training.run_directory import RunDirectory


@pytest.mark.slow
@pytest.mark.parametrize(("inner", "share"), [("fgsm", 0.5), ("pgd", 1.0)])
def test_a_step_is_the_papers(toy_model, toy_split, inner, share):
    """Adam's first moments have the gradient of share * L(adversarial) + (1 - share) * L(clean)."""
    given = {"inner_attack": inner, "inner_epsilon": 0.2}
    ours, textbook = (AdversarialTraining(toy_model, seed=3, **given) for _ in range(2))
    ours.prepare(10), textbook.prepare(10)
    batch = {"clean": tf.constant(toy_split.images), "labels": tf.constant(toy_split.labels)}
    step = tf.constant(4, tf.int64)
    scalars = ours.train_step(batch, Replica(0, step, 24))
    attack = {
        "fgsm": FGSM(epsilon=0.2),
        "pgd": PGD(epsilon=0.2, steps=10, relative_step_size=0.25, seed=4),
    }[inner]
    adversarial = attack(textbook.defend(), toy_split.images, toy_split.labels)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        loss = share * loss_of(batch["labels"], textbook.network(adversarial))
        loss += (1 - share) * loss_of(batch["labels"], textbook.network(batch["clean"]))
    variables = textbook.network.trainable_variables
    textbook.optimizer.apply(tape.gradient(loss, variables), variables)
    np.testing.assert_allclose(scalars["loss"], loss, rtol=1e-5)
    assert_same_variables(ours.optimizer, textbook.optimizer, rtol=1e-3, atol=1e-7)


def test_with_nfgsm_the_most_robust_weights_are_kept_and_a_collapse_ends_training(
    toy_model, toy_split, monkeypatch
):
    accuracies, weights, attacks = iter([0.8, 0.9, 0.1]), [], []

    def make_validator(model, attack, validation):
        attacks.append(attack)

        def validate():
            weights.append(model.model.get_weights())
            return {"accuracy_pgd": next(accuracies)}, {}

        return validate

    monkeypatch.setattr(adversarial_training, "make_robust_validator", make_validator)
    defense = AdversarialTraining(toy_model, inner_attack="nfgsm")
    defense.fit(toy_split, epochs=9, validation=toy_split, batch_size=24)
    assert attacks == [PGD(epsilon=0.3, steps=10, relative_step_size=0.25)]
    assert defense.should_stop
    assert len(weights) == 3
    for kept, best in zip(defense.network.get_weights(), weights[1], strict=True):
        np.testing.assert_array_equal(kept, best)


def test_nfgsm_needs_validation_images(toy_model, toy_split):
    with pytest.raises(UserError, match="validation: none given"):
        AdversarialTraining(toy_model, inner_attack="nfgsm").fit(toy_split, epochs=1)


@pytest.mark.slow
def test_it_is_robust_to_pgd(toy_model, toy_split, repeated_toy_split, tmp_path):
    epsilon, given = 0.15, {"inner_epsilon": 0.15, "learning_rate": 1e-2, "inner_steps": 5}
    before = [weight.numpy() for weight in toy_model.weights]
    defense = AdversarialTraining(toy_model, **given)
    run = tmp_path / "run"
    defense.fit(repeated_toy_split, epochs=8, batch_size=24, validation=toy_split, run=run)
    for weight, value in zip(toy_model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value, "the guarded classifier is never changed")

    def robust_accuracy(model):
        images = PGD(epsilon=epsilon)(model, toy_split.images, toy_split.labels)
        return np.mean(np.argmax(model(images), -1) == toy_split.labels)

    assert (
        robust_accuracy(defense.defend())
        > robust_accuracy(FrozenClassifier(toy_model, SHAPE)) + 0.3
    )
    again = AdversarialTraining(toy_model, **given)
    again.fit(repeated_toy_split, epochs=8, batch_size=24, run=run)
    np.testing.assert_array_equal(
        again.defend()(toy_split.images), defense.defend()(toy_split.images)
    )
    path = tfdefense.serving.export(defense, tmp_path / "export")
    served = tf.saved_model.load(path).signatures["serving_default"](tf.constant(toy_split.images))
    np.testing.assert_allclose(served["logits"], defense.defend()(toy_split.images), atol=1e-4)
    np.testing.assert_array_equal(served["purified"], toy_split.images)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inner_attack": "pdg"}, "unknown --inner_attack 'pdg'. Did you mean 'pgd'"),
        ({"inner_epsilon": 2.0}, "--inner_epsilon=2.0: above 0 and up to 1"),
        ({"inner_steps": 0}, "--inner_steps=0: at least 1"),
        ({"adversarial_share": -0.1}, "--adversarial_share=-0.1"),
    ],
)
def test_an_error_names_the_bad_hyperparameter(toy_model, given, message):
    with pytest.raises(UserError, match=message):
        AdversarialTraining(toy_model, **given)


def test_classifiers_that_cannot_be_trained_or_guarded_are_rejected(toy_model):
    with pytest.raises(UserError, match="has no weights to train"):
        AdversarialTraining(FrozenClassifier(lambda images: images[:, 0, :3, 0], SHAPE))
    with pytest.raises(UserError, match="is a classifier itself, so it cannot guard another"):
        AdversarialTraining(toy_model).defend(toy_model)


@pytest.mark.slow
def test_a_trained_run_cannot_guard_another_classifier(toy_model, toy_split, tmp_path):
    run = RunDirectory(tmp_path / "run")
    AdversarialTraining(toy_model, inner_steps=1).fit(toy_split, epochs=1, batch_size=24, run=run)
    with pytest.raises(UserError, match="is a classifier itself, so it cannot guard another"):
        load_defense(run, FrozenClassifier(toy_model, SHAPE))


def test_layers_that_training_does_not_change_keep_their_weights():
    """A frozen backbone and the statistics of `Normalization` could not be trained again."""
    backbone = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
    )
    backbone.trainable = False
    layers = [keras.layers.Normalization(mean=None), backbone, keras.layers.Flatten()]
    images = outputs = keras.Input(SHAPE)
    for layer in (*layers, keras.layers.Dense(3)):
        outputs = layer(outputs)
    model = keras.Model(images, outputs)
    layers[0].adapt(np.linspace(0, 1, 288, dtype=np.float32).reshape(2, *SHAPE))
    model.unused = keras.layers.RandomFlip()  # Keras tracks it; a clone has none.
    network = AdversarialTraining(model, seed=1).network
    images = np.random.default_rng(0).random((4, *SHAPE), np.float32)
    features = [keras.Model(m.inputs, m.layers[2].output)(images) for m in (network, model)]
    np.testing.assert_allclose(*features, rtol=1e-5)
    assert not np.array_equal(
        network.layers[-1].get_weights()[0], model.layers[-1].get_weights()[0]
    )


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("kind", ["lora", "int8"])
def test_a_layer_with_trained_and_other_weights_keeps_the_others(kind):
    dense, norm = keras.layers.Dense(3), keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input(SHAPE), norm, keras.layers.Flatten(), dense])
    norm.moving_mean.assign([0.5])
    if kind == "lora":
        dense.enable_lora(2)
    else:
        model.quantize("int8")
    network = AdversarialTraining(model, seed=1).network
    assert len(dense.non_trainable_weights) == (1 if kind == "lora" else 2)
    copied = network.layers[-1].non_trainable_weights
    for weight, copy in zip(dense.non_trainable_weights, copied, strict=True):
        np.testing.assert_array_equal(copy, weight)
    assert np.any(copied[0])
    np.testing.assert_array_equal(network.layers[0].moving_mean, [0.0])


@pytest.mark.slow
def test_a_stored_run_normalises_as_it_did_in_training(toy_split, tmp_path):
    normalization = keras.layers.Normalization()
    normalization.adapt(toy_split.images)
    model = keras.Sequential(
        [keras.Input(SHAPE), normalization, keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    run = RunDirectory(tmp_path / "run")
    trained = AdversarialTraining(model, inner_steps=1)
    trained.fit(toy_split, epochs=1, batch_size=24, run=run)
    images = toy_split.images[:4]
    expected = trained.network(images)
    np.testing.assert_allclose(load_defense(run).network(images), expected, rtol=1e-5)
    # A run of an earlier version, which learned without the statistics.
    items = trained.checkpoint_items()
    mean, variance, _ = trained.network.layers[0].weights
    mean.assign(np.zeros(mean.shape)), variance.assign(np.ones(variance.shape))
    Checkpoints(items, tmp_path / "old").save(1)
    restored = AdversarialTraining(model, inner_steps=1)
    restored.prepare(1)
    Checkpoints(restored.checkpoint_items(), tmp_path / "old").restore()
    plain = restored.network.layers[-1](images.reshape(4, -1))
    np.testing.assert_allclose(restored.network(images), plain, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_model_of_mixed_precision_is_trained_in_float32(policy):
    layers = [keras.layers.Conv2D(4, 3, dtype=policy), keras.layers.Flatten(dtype=policy)]
    inner = keras.Sequential([keras.Input(SHAPE), *layers])
    model = keras.Sequential([keras.Input(SHAPE), inner, keras.layers.Dense(3, dtype=policy)])
    network = AdversarialTraining(model).network
    assert {layer.compute_dtype for layer in network._flatten_layers()} == {"float32"}
    assert network(np.zeros((2, *SHAPE), np.float32), training=True).dtype == tf.float32
    assert model.layers[-1].compute_dtype == policy.removeprefix("mixed_")
