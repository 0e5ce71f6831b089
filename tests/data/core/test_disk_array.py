import numpy as np
import pytest

from tfdefense.data import Split
from tfdefense.data.core import disk_array
from tfdefense.data.core.batches import shuffled_batches
from tfdefense.data.core.disk_array import DiskArray, as_images
from tfdefense.data.core.fingerprint import data_fingerprint
from tfdefense.defenses.core.adversarial_pairs import make_fgsm_pairs
from tfdefense.errors import WorkFailedError

BYTES = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), np.uint8)


@pytest.fixture
def on_disk():
    array = DiskArray(BYTES.shape, np.uint8, as_images)
    array[0:20] = BYTES[:20]
    array[20:50] = BYTES[20:]
    return array


@pytest.mark.parametrize(
    "chosen",
    [
        slice(3, 9),
        slice(None),
        slice(40, 80),
        slice(0, 50, 7),
        slice(9, 9),
        np.array([7, 3, 3, 49]),
        np.arange(50) % 2 == 0,
        11,
    ],
)
def test_slices_are_those_of_the_array_in_memory(on_disk, chosen):
    expected = as_images(BYTES)[chosen]
    np.testing.assert_array_equal(on_disk[chosen], expected)
    assert on_disk[chosen].dtype == np.float32


def test_it_looks_like_an_array(on_disk):
    assert on_disk.shape == BYTES.shape
    assert (len(on_disk), on_disk.ndim, on_disk.dtype) == (50, 4, np.float32)
    np.testing.assert_array_equal(np.asarray(on_disk), as_images(BYTES))


def test_a_view_of_a_view(on_disk):
    order = np.random.default_rng(1).permutation(50)
    view = on_disk.select(order).select(slice(5, 25))
    np.testing.assert_array_equal(view[2:6], as_images(BYTES)[order][7:11])


def test_splits_and_batches_do_not_tell_the_difference(on_disk):
    labels = np.arange(50, dtype=np.int32) % 4
    here, there = (Split(images, labels, 4) for images in (as_images(BYTES), on_disk))
    assert data_fingerprint(here) == data_fingerprint(there)
    some = np.array([4, 2, 40])
    np.testing.assert_array_equal(here.select(some).images, np.asarray(there.select(some).images))
    streams = [
        shuffled_batches({"images": split.images, "labels": split.labels}, 16, seed=3, first_step=2)
        for split in (here, there)
    ]
    for one, other in zip(*(stream.take(5) for stream in streams), strict=True):
        np.testing.assert_array_equal(one["images"], other["images"])
        np.testing.assert_array_equal(one["labels"], other["labels"])


def test_fgsm_pairs_on_disk_are_those_in_memory(toy_split, toy_model, monkeypatch):
    here = make_fgsm_pairs(toy_model, toy_split)
    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", 0)
    there = make_fgsm_pairs(toy_model, toy_split)
    assert isinstance(there["direction"], DiskArray)
    np.testing.assert_array_equal(here["direction"], np.asarray(there["direction"]))


def test_a_full_disk_is_named(on_disk, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(WorkFailedError, match=r"No space left on device\)\. Set TMPDIR"):
        on_disk[0:1] = BYTES[:1]
