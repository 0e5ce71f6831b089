"""Training on two replicas equals training on one, with Keras' dropout and batch normalisation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.classifiers import ClassifierTraining
from tfdefense.classifiers.core.architecture import Architecture, Recipe
from tfdefense.data.core.dataset import Dataset
from tfdefense.defenses.adversarial_training import AdversarialTraining
from tfdefense.training.global_batch import use_global_batch

SHAPE = (12, 12, 1)


def make_model_with_dropout_and_norm(image_shape=SHAPE, num_classes=3):
    """Return a model in which some layers are in a nested model and one dropout is used twice."""
    keras.utils.set_random_seed(0)
    images = keras.Input(image_shape)
    dropout = keras.layers.Dropout(0.3)
    features = dropout(keras.layers.Conv2D(4, 3, strides=2)(images))
    features = dropout(keras.layers.BatchNormalization()(features))
    head = [keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(num_classes)]
    return keras.Model(images, keras.Sequential([keras.Input(features.shape[1:]), *head])(features))


def train_adversarially(split, file):
    classifier = keras.models.load_model(file)
    defense = AdversarialTraining(
        classifier, inner_attack="fgsm", learning_rate=1e-7, adversarial_share=0.5
    )
    defense.fit(split, 1, batch_size=8)
    return [*defense.network.variables, *defense.optimizer.variables]


def train_averaged_classifier(split, file):
    return train_classifier(split, file, average=0.9)


def train_classifier(split, file, average=0.0):
    recipe = Recipe(
        batch_size=8,
        learning_rate=1e-7,
        training_images=len(split),
        mirror=True,
        average=average,
    )
    architecture = Architecture(
        "both", "both layers", make_model_with_dropout_and_norm, grey=recipe
    )
    data = Dataset("toy", split, split, split, source="fashion_mnist")
    training = ClassifierTraining(architecture, data)
    assert training.augmentation.mirror
    model = training.fit()
    return [*model.variables, *training.optimizer.variables]


@pytest.mark.slow
@pytest.mark.parametrize(
    "train", [train_adversarially, train_classifier, train_averaged_classifier]
)
def test_two_replicas_train_as_one(toy_split, two_replicas, tmp_path, train):
    file = tmp_path / "of_one_replica.keras"
    make_model_with_dropout_and_norm().save(file)
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        one = [np.asarray(variable) for variable in train(toy_split, file)]
    with two_replicas.scope():
        two = [np.asarray(variable) for variable in train(toy_split, file)]
    for alone, shared in zip(one, two, strict=True):
        least = 1e-6 + 1e-4 * np.abs(alone).max()
        np.testing.assert_allclose(shared, alone, rtol=1e-3, atol=least)


L = keras.layers
DROPOUT_LAYERS = {
    "float32": lambda: L.Dropout(0.3, seed=5),
    "bfloat16": lambda: L.Dropout(0.3, seed=5, dtype="bfloat16"),
    "large seed": lambda: L.Dropout(0.3, seed=3_000_000_000),
    "columns": lambda: L.Dropout(0.3, noise_shape=(None, 1, None, 1), seed=5),
    "one mask for all": lambda: L.Dropout(0.3, noise_shape=(1, None, None, None), seed=5),
    "a short shape": lambda: L.Dropout(0.3, noise_shape=(4, 7), seed=5),
    "channels": lambda: L.SpatialDropout2D(0.3, data_format="channels_last", seed=5),
    "channels first": lambda: L.SpatialDropout2D(0.3, data_format="channels_first", seed=5),
    "all": lambda: L.Dropout(1.0),
    "within a layer": lambda: L.TimeDistributed(L.Dropout(0.3, seed=5)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DROPOUT_LAYERS)
def test_two_replicas_draw_the_mask_of_one(two_replicas, name):
    ones = tf.ones([6, 5, 4, 7])
    alone = DROPOUT_LAYERS[name]()(ones, training=True)
    with two_replicas.scope():
        layer = DROPOUT_LAYERS[name]()
        layer.build(tuple(ones.shape))

    @tf.function
    def step():
        def on_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = ones[replica * 3 : replica * 3 + 3]
            with tf.GradientTape() as tape:
                tape.watch(mine)
                dropped = layer(mine, training=True)
            return dropped, tape.gradient(dropped, mine, unconnected_gradients="zero")

        return two_replicas.run(on_replica)

    with use_global_batch([layer], replicas=2):
        parts, gradients = map(two_replicas.experimental_local_results, step())
    shared = np.concatenate([np.asarray(part, np.float32) for part in parts])
    alone = np.asarray(alone, np.float32)
    np.testing.assert_allclose(shared, alone, rtol=0.01)
    gradient = np.concatenate([np.asarray(part, np.float32) for part in gradients])
    np.testing.assert_allclose(
        gradient, alone, rtol=0.01
    )  # The layer is linear, and its input is one.


def test_after_the_context_the_layers_are_those_of_keras(two_replicas):
    with two_replicas.scope():
        model = make_model_with_dropout_and_norm()
    before = model.to_json()
    dropout = next(each for each in model.layers if isinstance(each, keras.layers.Dropout))
    with use_global_batch([model], replicas=2):
        assert "call" in vars(dropout)
        assert model.to_json() != before  # Its batch normalisation is synchronised.
    assert "call" not in vars(dropout)
    assert model.to_json() == before


def test_with_one_replica_nothing_is_changed():
    model = make_model_with_dropout_and_norm()
    before = model.to_json()
    with use_global_batch([model], replicas=1):
        assert model.to_json() == before
        assert not any("call" in vars(layer) for layer in model.layers)
