import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.errors import UserError
from tfdefense.networks.generator_factory import GENERATORS, check_generator, make_generator


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_with_thresholds_trains_them_and_is_saved_with_them(name, tmp_path):
    shape = (7, 7, 1)
    network = make_generator(name, shape, widths=(4, 8), thresholds=6)
    plain = make_generator(name, shape, widths=(4, 8))
    # Six thresholds and six slopes; the first convolution gets six channels instead of one.
    first = next(weight for weight in plain.weights if len(weight.shape) == 4)
    height, width, _, filters = first.shape
    assert network.count_params() - plain.count_params() == 12 + 5 * height * width * filters
    images = tf.random.stateless_uniform([3, *shape], [0, 0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network(images))
    gradients = tape.gradient(loss, network.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    # The first threshold is 0, where most pixels of a picture are; the others must be trained too.
    of_thresholds = [
        np.asarray(g)
        for g, v in zip(gradients, network.trainable_variables, strict=True)
        if "thresholds" in v.path
    ]
    assert of_thresholds[0].shape == (1, 6)
    assert np.any(of_thresholds[0])
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(images), network(images))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unet2", None, (4, 8), 0), "unknown --generator 'unet2'. Did you mean 'unet'"),
        (("unet", 9, (4, 8), 0), "--levels=9: 1 to 8 needed"),
        (("small_unet", 3, (4, 8), 0), "--levels=3: only --generator=unet has levels"),
        (("small_unet", None, (4,), 0), "--widths=4: two or more numbers"),
        (("small_unet", None, (4, 8), 65), "--thresholds=65: 0 to 64 needed"),
    ],
)
def test_settings_of_no_generator_are_refused(arguments, message):
    with pytest.raises(UserError) as error:
        check_generator(*arguments)
    assert message in str(error.value)
