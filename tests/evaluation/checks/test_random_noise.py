import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tfdefense.evaluation.checks.attacked_models import AttackedModels
from tfdefense.evaluation.checks.diagnostics import Diagnostics
from tfdefense.evaluation.checks.random_noise import RANDOM_NOISE
from tfdefense.evaluation.checks.random_search import RandomSearch
from tfdefense.evaluation.checks.sizes import CheckSizes
from tfdefense.evaluation.runner import ModelRunner


class BrightPixelModel:
    """A model without a gradient that is wrong if the first pixel is brighter than 0.28."""

    name = "bright pixel"

    def __call__(self, images):
        is_bright = images[:, 0, 0, 0] > 0.28
        first = 1.0 - tf.cast(is_bright, tf.float32)
        return tf.stack([first] * 2 + [tf.fill(tf.shape(is_bright), 0.5)], axis=1)


@pytest.fixture
def diagnose_bright_pixel(toy_split):
    """Return diagnostics of images whose first pixel is black and that withstand every attack."""
    images = np.array(toy_split.images)
    images[:, 0, 0, 0] = 0
    split = tfdefense.data.Split(images, np.zeros(24, np.int32), num_classes=3, dataset="toy")
    runner = ModelRunner(BrightPixelModel())
    models, sizes = AttackedModels(runner, runner), CheckSizes(24, steps=40, draws=200)
    return lambda epsilon: Diagnostics(models, split, epsilon, sizes, np.ones(24, bool))


@pytest.fixture(scope="module")
def counting_model():
    """A model that counts its traces."""

    class CountingModel(BrightPixelModel):
        traces = 0

        def __call__(self, images):
            CountingModel.traces += 1
            return super().__call__(images)

    return CountingModel()


@pytest.mark.parametrize("batch_size", [7, 100])
def test_the_size_of_batches_does_not_change_what_is_found(toy_split, batch_size):
    """The first pixels differ, so noise finds some images in more draws than others, or never."""
    images = np.array(toy_split.images)
    images[:, 0, 0, 0] = np.linspace(0, 0.28, 24)
    split = tfdefense.data.Split(images, np.zeros(24, np.int32), num_classes=3)
    runner = ModelRunner(BrightPixelModel(), batch_size)
    fooled = RandomSearch(runner, 0.1, 40).fooled(split, lambda _: None)
    np.testing.assert_array_equal(fooled, images[:, 0, 0, 0] > 0.18)


@pytest.mark.slow
def test_strong_attack_passes(evidence_of, clean_diagnostics):
    result = RANDOM_NOISE.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert "fool 0 of them" in result.verdict


def test_noise_that_fools_what_attacks_miss_fails(evidence_of, diagnose_bright_pixel):
    result = RANDOM_NOISE.run(evidence_of(diagnose_bright_pixel(0.3)))
    assert not result.passed
    assert "200 random perturbations of each fool 24 of them" in result.verdict


def test_noise_stays_in_the_ball(diagnose_bright_pixel):
    assert diagnose_bright_pixel(0.3).missed_by_noise == 24
    assert diagnose_bright_pixel(0.27).missed_by_noise == 0


def test_batches_of_any_size_are_traced_once(counting_model, toy_split):
    shares = []
    RandomSearch(ModelRunner(counting_model, 50), 0.3, draws=7).fooled(toy_split, shares.append)
    assert counting_model.traces == 1
    assert shares[-1] == 1
