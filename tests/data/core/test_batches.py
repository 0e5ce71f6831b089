import itertools
import time

import numpy as np

from tfdefense.data.core import batches
from tfdefense.data.core.batches import shuffled_batches
from tfdefense.data.core.disk_array import DiskArray

ARRAYS = {"x": np.arange(10), "y": np.arange(10) ** 2}


def numbers(stream, count):
    return [batch["x"].numpy().tolist() for batch in itertools.islice(stream, count)]


def test_every_pass_is_a_permutation_and_batches_cross_passes():
    stream = list(itertools.chain(*numbers(shuffled_batches(ARRAYS, 4, seed=1), 5)))
    assert sorted(stream[:10]) == list(range(10))
    assert sorted(stream[10:]) == list(range(10))
    assert stream[:10] != stream[10:]


def test_a_stream_that_starts_later_continues_the_same_batches():
    unbroken = numbers(shuffled_batches(ARRAYS, 4, seed=1), 9)
    for first in (1, 3, 7):
        resumed = numbers(shuffled_batches(ARRAYS, 4, seed=1, first_step=first), 9 - first)
        assert resumed == unbroken[first:]


def test_seeds_give_different_orders_and_arrays_stay_aligned():
    assert numbers(shuffled_batches(ARRAYS, 4, 1), 3) != numbers(shuffled_batches(ARRAYS, 4, 2), 3)
    batch = next(iter(shuffled_batches(ARRAYS, 4, seed=3)))
    assert np.array_equal(batch["x"].numpy() ** 2, batch["y"].numpy())


def test_several_readers_give_the_stream_of_one(monkeypatch):
    """Reading takes longer for some batches, so that readers end in another order than they begin."""
    rows = DiskArray(
        (40,), np.int64, lambda values: (time.sleep(0.01 * (values[0] % 4)), values)[1]
    )
    rows[0:40] = np.arange(40)
    streams = []
    for readers in (1, 4):
        monkeypatch.setattr(batches, "_READERS", readers)
        streams.append(numbers(shuffled_batches({"x": rows}, 4, seed=1), 25))
    assert streams[0] == streams[1]
