"""Attacks on defended pipelines, and the cache of compiled attacks."""

import dataclasses

import numpy as np
import pytest

import tfdefense
from tfdefense.attacks import BIM, FGSM
from tfdefense.attacks.core.compile_cache import clear_compile_cache, count_compiled


@pytest.mark.slow
def test_a_defended_pipeline_is_attacked_like_any_model(toy_model, toy_split):
    pipeline = tfdefense.defenses.APEGANPlusPlus(toy_model).defend()
    labels = np.argmax(pipeline(toy_split.images), 1).astype(np.int32)
    result = FGSM(epsilon=0.5).run(pipeline, toy_split.images, labels)
    assert np.asarray(result.linf).max() > 0.4


def test_all_epsilons_share_one_compiled_attack(linear, linear_images):
    images, labels = linear_images
    clear_compile_cache()
    for epsilon in (0.1, 0.2, 0.3):
        BIM(epsilon=epsilon)(linear, images, labels)
    assert count_compiled() == 1
    dataclasses.replace(BIM(), steps=3)(linear, images, labels)
    assert count_compiled() == 2
