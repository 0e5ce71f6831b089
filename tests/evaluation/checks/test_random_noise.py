import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tfdefense.evaluation.checks.diagnostics import Diagnostics, DiagnosticsConfig
from tfdefense.evaluation.checks.random_noise import RANDOM_NOISE
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

    def diagnose(epsilon):
        config = DiagnosticsConfig(epsilon, noise_draws=200, steps=40)
        return Diagnostics(runner, runner, split, config, np.ones(24, bool))

    return diagnose


def test_strong_attack_passes(evidence_of, clean_diagnostics):
    result = RANDOM_NOISE.run(evidence_of(clean_diagnostics))
    assert result.passed
    assert "fool 0 of them" in result.verdict


def test_noise_that_fools_what_attacks_miss_fails(evidence_of, diagnose_bright_pixel):
    result = RANDOM_NOISE.run(evidence_of(diagnose_bright_pixel(0.3)))
    assert not result.passed
    assert "200 random perturbations of each fool 24 of them" in result.verdict


def test_noise_stays_in_the_ball(diagnose_bright_pixel):
    assert diagnose_bright_pixel(0.3).fooled_by_noise().all()
    assert not diagnose_bright_pixel(0.27).fooled_by_noise().any()
