"""Checks of an attack of another library, on a library that misbehaves on purpose."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from tfdefense.attacks.core.foreign_attack import ForeignAttack
from tfdefense.attacks.core.foreign_facts import AttackFacts
from tfdefense.errors import UserError, WorkFailedError


@dataclasses.dataclass(frozen=True)
class OtherAttack(ForeignAttack):
    """Attack of a library with one function for each kind of fault."""

    library: ClassVar[str] = "other"
    distribution: ClassVar[str] = "numpy"

    @classmethod
    def find_facts(cls, method, values):
        radius = {"needs_radius": True, "accepts_radius": True}
        return AttackFacts("linf", **radius, takes_targets=False, min_classes=len(values) + 2)

    def generate(self, model, batch):
        return FAULTS[self.method](batch.images, np.asarray(model(batch.images)))


def fail_on_bright(images, logits):
    if images[:, 0, 0, 0].max() > 0.25:
        raise RuntimeError("too bright\nand more")
    return np.clip(images + 0.1, 0, 1)


def fail(images, logits):
    raise ValueError("always")


FAULTS = {
    "far": lambda images, logits: images + 5,
    "nan": lambda images, logits: np.where(images > 0.5, np.nan, images),
    "patch": lambda images, logits: images[0],
    "bright": fail_on_bright,
    "fail": fail,
    "noise": lambda images, logits: images * np.random.uniform(0.9, 1.0, images.shape),
}


def run(method, model, split, **fields):
    return OtherAttack(method, epsilon=0.2, **fields).run(model, split.images, split.labels)


def test_images_outside_the_ball_are_projected_into_it(toy_model, toy_split):
    with pytest.warns(UserWarning, match="other:far: 24 of 24 images: outside the ball"):
        result = run("far", toy_model, toy_split)
    np.testing.assert_allclose(result.images, np.clip(toy_split.images + 0.2, 0, 1), atol=1e-6)


def test_images_that_are_not_finite_are_replaced_by_clean_ones(toy_model, toy_split):
    with pytest.warns(UserWarning, match="24 of 24 images: not finite"):
        result = run("nan", toy_model, toy_split)
    np.testing.assert_array_equal(result.images, toy_split.images)
    assert not np.asarray(result.success).any()


def test_a_patch_is_no_set_of_images(toy_model, toy_split):
    with pytest.raises(UserError, match=r"other:patch: returned an array of shape \(12, 12, 1\)"):
        run("patch", toy_model, toy_split)


def test_a_batch_on_which_the_library_fails_is_attacked_one_by_one(toy_model, toy_split):
    bright = toy_split.images[:, 0, 0, 0] > 0.25
    assert 0 < bright.sum() < 24
    with pytest.warns(UserWarning, match=f"{bright.sum()} of 24 images: other fails on them"):
        result = run("bright", toy_model, toy_split)
    unchanged = np.asarray(result.linf) == 0
    np.testing.assert_array_equal(unchanged, bright)


def test_a_library_that_always_fails_is_named_with_its_reason(toy_model, toy_split):
    with pytest.raises(WorkFailedError, match="other:fail: other failed with ValueError: always"):
        run("fail", toy_model, toy_split)


def test_the_random_numbers_of_the_caller_go_on(toy_model, toy_split):
    np.random.seed(7)
    first, expected = np.random.random(), np.random.random()
    np.random.seed(7)
    assert np.random.random() == first
    made = [run("noise", toy_model, toy_split).images for _ in range(2)]
    assert np.random.random() == expected
    np.testing.assert_array_equal(*made)


def test_a_model_with_too_few_classes_is_refused(toy_model, toy_split):
    with pytest.raises(UserError, match="a model of 3 classes given, at least 4 needed"):
        run("noise", toy_model, toy_split, parameters="a=1:b=2")
    with pytest.raises(UserError, match="targets given, but this attack takes none"):
        OtherAttack("noise")(toy_model, toy_split.images, toy_split.labels, toy_split.labels)


def test_the_last_image_of_a_batch_may_fail(toy_model, toy_split):
    """Alone it is like an image on which the library fails among others."""
    bright = toy_split.select(np.flatnonzero(toy_split.images[:, 0, 0, 0] > 0.25)[:1])
    with pytest.warns(UserWarning, match=r"1 of 1 images.*unchanged \(RuntimeError: too bright"):
        result = run("bright", toy_model, bright)
    np.testing.assert_array_equal(result.images, bright.images)
