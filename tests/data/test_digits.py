import numpy as np

import tfdefense


def test_digits_have_the_format_of_mnist(digits):
    sizes = {part: len(getattr(digits, part)) for part in ("train", "validation", "test")}
    assert sizes == {"train": 1257, "validation": 180, "test": 360}
    assert digits.image_shape == (28, 28, 1)
    assert digits.train.images.dtype == np.float32
    assert (digits.train.images.min(), digits.train.images.max()) == (0, 1)
    assert not digits.train.images[:, :4].any(), "a margin of four pixels, as in MNIST"


def test_splits_are_stratified_disjoint_and_always_the_same(digits):
    for part in (digits.train, digits.validation, digits.test):
        shares = np.bincount(part.labels, minlength=10) / len(part)
        assert np.all(np.abs(shares - 0.1) < 0.02)
    seen = [
        image.tobytes()
        for part in (digits.train, digits.validation, digits.test)
        for image in part.images
    ]
    assert len(seen) == 1797
    assert len(set(seen)) >= 1797 - 5, "the source itself contains few equal images"
    again = tfdefense.data.load("digits")
    assert np.array_equal(again.test.images, digits.test.images)
