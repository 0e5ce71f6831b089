import numpy as np
import pytest

from tfdefense.data import Dataset, Split
from tfdefense.data.core.dataset import make_slug
from tfdefense.errors import UserError

GOOD = np.full((4, 6, 6, 1), 0.5, np.float32)
LABELS = np.arange(4, dtype=np.int32)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (GOOD[0], LABELS, r"shape \(6, 6, 1\) given, \[N, H, W, C\] needed"),
        (GOOD[:0], LABELS[:0], "no images"),
        ((GOOD * 255).astype(np.uint8), LABELS, "dtype uint8 given.*divide by 255"),
        ((GOOD * 4095).astype(np.uint16), LABELS, "dtype uint16 given.*65535.*, 4095 for 12 bits"),
        ((GOOD * 255).astype(np.int64), LABELS, "dtype int64 given.*divide by 255"),
        (GOOD > 0, LABELS, r"dtype bool given, float32 in \[0, 1\] needed\.$"),
        (GOOD * 4095, LABELS, r"values in .*65535 for 16 bits, 4095 for 12 bits"),
        (GOOD * 255, LABELS, r"values in \[127.5, 127.5\].*divide by 255"),
        (GOOD - 1, LABELS, r"\[0, 1\] needed"),
        (np.where(np.arange(4)[:, None, None, None] == 2, np.nan, GOOD), LABELS, "NaN"),
        (GOOD, LABELS[:3], r"shape \(3,\) given, \(4,\)"),
        (GOOD, LABELS.astype(np.float32), "dtype float32 given, integer"),
        (GOOD, LABELS + 1, r"values in \[1, 4\], \[0, 3\] needed"),
        (GOOD, np.eye(4, dtype=np.int32), r"shape \(4, 4\) given"),
    ],
)
def test_errors_name_bad_images_and_labels(images, labels, message):
    with pytest.raises(UserError, match=message):
        Split(images, labels, num_classes=4)


def test_take_and_select_keep_images_and_labels_aligned():
    images = np.linspace(0, 1, 4, dtype=np.float32)[:, None, None, None] * np.ones((1, 2, 2, 1))
    split = Split(images.astype(np.float32), LABELS, 4).select(np.array([3, 1]))
    assert split.labels.tolist() == [3, 1]
    assert np.allclose(split.images[:, 0, 0, 0], [1, 1 / 3])
    assert len(split.take(1)) == 1
    assert split.image_shape == (2, 2, 1)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            Split(GOOD[:, 1:], LABELS, 4),
            r"pets: images differ: train \(6, 6, 1\), .*test \(5, 6, 1\)",
        ),
        (Split(GOOD, LABELS, 5), "pets: num_classes differ: train 4, validation 4, test 5"),
    ],
)
def test_splits_of_different_images_or_classes_are_refused(other, message):
    split = Split(GOOD, LABELS, 4)
    with pytest.raises(UserError, match=message):
        Dataset("pets", split, split, other)


def test_folders_keep_what_follows_a_dot_in_their_names(tmp_path):
    (tmp_path / "photos.2023").mkdir()
    assert make_slug(tmp_path / "photos.2023") == "photos.2023"
    assert make_slug(tmp_path / "my images.v2.npz") == "my_images.v2"
