import numpy as np
import pytest

from tfdefense.data.core import array_images, disk_array
from tfdefense.data.core.array_images import fit_images
from tfdefense.data.core.disk_array import as_images
from tfdefense.data.core.resizing import resize_images

BYTES = np.random.default_rng(0).integers(0, 256, (23, 8, 6, 3), np.uint8)


@pytest.mark.parametrize("limit", [0, 2**30])
@pytest.mark.parametrize("images", [BYTES, BYTES / 255])
def test_batches_give_the_images_of_one_call(monkeypatch, limit, images):
    monkeypatch.setattr(array_images, "fitting_batch_size", lambda *_: 5)
    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", limit)
    floats = as_images(BYTES)
    for size in (None, (8, 6), (5, 4), (20, 20)):
        expected = floats if size is None else resize_images(floats, size)
        np.testing.assert_array_equal(fit_images(images, size, None, "x")[:], expected)


def test_bytes_stay_bytes_on_disk(monkeypatch):
    sizes = []

    class Watched(disk_array.DiskArray):
        def __setitem__(self, rows, values):
            sizes.append(np.asarray(values).nbytes)
            super().__setitem__(rows, values)

    monkeypatch.setattr(disk_array, "MEMORY_LIMIT", 0)
    monkeypatch.setattr(array_images, "DiskArray", Watched)
    np.testing.assert_array_equal(fit_images(BYTES, None, None, "x")[:], as_images(BYTES))
    assert sum(sizes) == BYTES.nbytes
