import mmap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tfdefense.data import Split
from tfdefense.data.core import disk_array, fingerprint
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
def test_slices_equal_those_of_an_array_in_memory(on_disk, chosen):
    expected = as_images(BYTES)[chosen]
    np.testing.assert_array_equal(on_disk[chosen], expected)
    assert on_disk[chosen].dtype == np.float32


def test_a_disk_array_has_the_attributes_of_an_array(on_disk):
    assert on_disk.shape == BYTES.shape
    assert (len(on_disk), on_disk.ndim, on_disk.dtype) == (50, 4, np.float32)
    np.testing.assert_array_equal(np.asarray(on_disk), as_images(BYTES))


def test_several_threads_read_the_same_rows_as_one(on_disk):
    rng = np.random.default_rng(2)
    batches = [rng.permutation(50)[:20] for _ in range(200)]
    with ThreadPoolExecutor(4) as executor:
        for rows, read in zip(batches, executor.map(on_disk.__getitem__, batches), strict=True):
            np.testing.assert_array_equal(read, as_images(BYTES)[rows])


def test_a_view_of_a_view_selects_rows_of_the_first_view(on_disk):
    order = np.random.default_rng(1).permutation(50)
    view = on_disk.select(order).select(slice(5, 25))
    np.testing.assert_array_equal(view[2:6], as_images(BYTES)[order][7:11])


def test_splits_and_batches_are_the_same_on_disk_and_in_memory(on_disk):
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


def test_a_fingerprint_is_computed_batch_by_batch(toy_split, toy_split_on_disk, monkeypatch):
    on_disk, counts = toy_split_on_disk
    monkeypatch.setattr(fingerprint, "fitting_batch_size", lambda *_: 7)
    assert data_fingerprint(on_disk) == data_fingerprint(toy_split)
    assert max(counts) == 7


def test_fgsm_pairs_on_disk_equal_those_in_memory(toy_split, toy_model, monkeypatch):
    here = make_fgsm_pairs(toy_model, toy_split)
    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", 0)
    there = make_fgsm_pairs(toy_model, toy_split)
    assert isinstance(there["direction"], DiskArray)
    np.testing.assert_array_equal(here["direction"], np.asarray(there["direction"]))


def test_the_error_names_a_full_disk(on_disk, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(WorkFailedError, match=r"No space left on device\)\. Set TMPDIR"):
        on_disk[0:1] = BYTES[:1]


def test_rows_that_are_in_a_file_already_are_mapped(tmp_path):
    np.save(tmp_path / "rows.npy", BYTES)
    stored = np.load(tmp_path / "rows.npy", mmap_mode="r")
    array = DiskArray(BYTES.shape, np.uint8, as_images, stored=stored)
    np.testing.assert_array_equal(array.select(slice(10, 20))[2:4], as_images(BYTES[12:14]))
    (tmp_path / "rows.npy").unlink()
    np.testing.assert_array_equal(np.asarray(array), as_images(BYTES))


def test_reading_does_not_raise_the_memory_of_the_process():
    """Pages that were read stay in the cache of the system, and leave the memory of the process."""
    shape = (64, 1024, 1024)
    array = DiskArray(shape, np.uint8)
    for row in range(len(array)):
        array[row : row + 1] = np.full((1, *shape[1:]), row, np.uint8)

    def resident_bytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    before = resident_bytes()
    assert [int(array[row].max()) for row in range(len(array))] == list(range(64))
    assert resident_bytes() - before < 16 * 2**20
