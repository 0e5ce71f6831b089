"""Attacks are compiled once for each model, image shape and strategy, and release their models."""

import contextlib
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tests.conftest import make_toy_model
from tfdefense.attacks import BIM, FGSM, Square
from tfdefense.attacks.core.adversarial_dataset_maker import (
    AdversarialStorage,
    make_adversarial_dataset,
)
from tfdefense.attacks.core.compile_cache import clear_compile_cache, count_compiled
from tfdefense.attacks.core.weak_model_cache import WeakModelCache, weak_reference
from tfdefense.classifiers import FrozenClassifier


class TracedModel:
    """Model that counts the traces of the attacks on it."""

    def __init__(self, model):
        self.model = model
        self.traces = 0

    def __call__(self, images):
        self.traces += isinstance(images, tf.Tensor) and not tf.executing_eagerly()
        return self.model(images)


@pytest.fixture
def traced(toy_model):
    return TracedModel(toy_model)


def test_batch_sizes_and_radii_share_one_trace(traced, toy_split, tensorflow_log):
    BIM(epsilon=0.1, steps=2).run(traced, toy_split.images, toy_split.labels)
    once = traced.traces
    assert once > 0
    for count in (24, 7, 1, 13, 5, 24):  # 24 = 10 + 10 + 4, with a smaller last batch.
        part = toy_split.take(count)
        for epsilon in (0.1, 0.2):
            result = BIM(epsilon=epsilon, steps=2).run(traced, part.images, part.labels)
            assert len(result.images) == count
    assert traced.traces == once
    assert not [message for message in tensorflow_log if "retracing" in message]


@pytest.mark.slow
def test_many_datasets_warn_of_no_retracing(toy_split, tmp_path, tensorflow_log):
    for number in range(6):  # TensorFlow warns from the fifth trace of a function on.
        model = FrozenClassifier(make_toy_model(), toy_split.image_shape)
        storage = AdversarialStorage(batch_size=10, output=tmp_path / str(number))
        make_adversarial_dataset(model, toy_split, FGSM(epsilon=0.1), storage)
    assert not [message for message in tensorflow_log if "retracing" in message]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["keras", "bit_depth", pytest.param("robust_purifier", marks=pytest.mark.slow)]
)
def test_an_attacked_model_is_released(toy_split, name):
    clear_compile_cache()
    model = make_toy_model()
    if name == "keras":
        defense, attacked = None, model
    else:
        kind = tfdefense.defenses.get_defense_class(name)
        defense = kind(model, **({"widths": (4, 8), "thresholds": 2} if "purifier" in name else {}))
        attacked = defense.defend()
    for attack in (FGSM(), Square(queries=3)):
        attack.run(attacked, toy_split.images, toy_split.labels)
    assert count_compiled() == 2
    references = [weakref.ref(each) for each in (model, defense, attacked) if each is not None]
    del model, defense, attacked
    gc.collect()
    assert [reference() for reference in references] == [None] * len(references)
    assert count_compiled() == 0


@pytest.mark.slow
def test_each_strategy_has_its_own_compiled_attack(traced, toy_split, two_replicas):
    clear_compile_cache()
    attack, results = BIM(epsilon=0.2, steps=2), []
    for scope in (contextlib.nullcontext, two_replicas.scope) * 2:
        with scope():
            results.append(np.asarray(attack(traced, toy_split.images, toy_split.labels)))
    assert count_compiled() == 2
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-6)


@pytest.mark.slow
def test_a_bound_method_is_cached_with_its_object():
    class Owner:
        def logits(self, images):
            return images

    owner, cache, made = Owner(), WeakModelCache(2), []
    for _ in range(2):
        cache.get(owner.logits, "key", lambda: made.append(0) or len(made))
    assert made == [0]
    assert weak_reference(owner.logits)()("x") == "x"
    del owner
    gc.collect()
    assert len(cache) == 0


def test_a_model_without_weak_references_is_not_cached():
    class Slotted:
        __slots__ = ()

    model, cache = Slotted(), WeakModelCache(2)
    assert [cache.get(model, "key", lambda value=value: value) for value in (1, 2)] == [1, 2]
    assert weak_reference(model)() is model


def test_the_least_recently_used_value_is_dropped_first():
    cache, model = WeakModelCache(2), lambda images: images
    for key in ("first", "second", "first", "third"):
        cache.get(model, key, lambda key=key: key)
    assert len(cache) == 2
    assert cache.get(model, "first", lambda: "made again") == "first"
    assert cache.get(model, "second", lambda: "made again") == "made again"
