import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.errors import UserError
from tfdefense.networks.generator_factory import (
    GENERATORS,
    GeneratorArchitecture,
    check_generator,
    check_new_generator,
    make_generator,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_with_thresholds_trains_them_and_is_saved_with_them(name, tmp_path):
    shape = (7, 7, 1)
    small = GeneratorArchitecture(name, widths=(4, 8), blocks=(0, 1))
    network = make_generator(dataclasses.replace(small, thresholds=6), shape)
    plain = make_generator(small, shape)
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
    ("given", "message"),
    [
        ({"name": "unet2"}, "unknown --generator 'unet2'. Did you mean 'unet'"),
        ({"name": "unet", "levels": 9}, "--levels=9: 1 to 8 needed"),
        ({"levels": 3}, "--levels=3: only --generator=unet has levels"),
        ({"widths": (4,)}, "--widths=4: two or more numbers"),
        ({"thresholds": 65}, "--thresholds=65: 0 to 64 needed"),
        ({"name": "residual_unet", "blocks": (0, 1, 1, 1)}, "--blocks=0,1,1,1: 3 numbers from 0"),
        ({"name": "residual_unet", "blocks": (0, 1, -1)}, "--blocks=0,1,-1: 3 numbers from 0"),
    ],
)
def test_settings_of_no_generator_are_refused(given, message):
    with pytest.raises(UserError) as error:
        check_generator(GeneratorArchitecture(**{"name": "small_unet", **given}))
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["small_unet", "residual_unet"])
def test_a_new_network_narrower_than_the_image_is_refused(name):
    """Older versions trained such networks, so they can still be made."""
    narrow = GeneratorArchitecture(name, widths=(2, 8))
    assert make_generator(narrow, (8, 8, 3)).built
    check_new_generator(narrow, 2)
    check_new_generator(GeneratorArchitecture("unet", widths=(2, 8)), 3)
    with pytest.raises(UserError, match="--widths=2,8: images with 3 channels given, 3 or more"):
        check_new_generator(narrow, 3)


@pytest.mark.parametrize("widths", [(4, 8), (4, 6, 8), (4, 4, 6, 8)])
def test_a_residual_unet_has_by_default_one_block_at_each_level_but_the_first(widths):
    network = make_generator(GeneratorArchitecture("residual_unet", widths=widths), (8, 8, 1))
    assert [len(blocks) for blocks in network.residual] == [0, *[1] * (len(widths) - 1)]
