"""--strategy=per_core: one replica on each processor core."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tfdefense.errors import UserError
from tfdefense.training.distribute import strategies
from tfdefense.utils.processors import usable_cores

ROOT = Path(__file__).parents[3]
RUN = """
import json, os, sys

os.sched_setaffinity(0, map(int, sys.argv[1:]))  # Before TensorFlow counts the cores.

import tensorflow as tf
from tfdefense.training.distribute.strategies import make_strategy

strategy = make_strategy("per_core")
with strategy.scope():
    weight = tf.Variable(1.0)

@tf.function
def step():
    return strategy.run(lambda: weight + tf.cast(
        tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32))

values = strategy.experimental_local_results(step())
print(json.dumps({
    "values": [float(value) for value in values],
    "devices": [device[-5:] for device in strategy.extended.worker_devices],
    "threads": tf.config.threading.get_intra_op_parallelism_threads(),
    "same": make_strategy("per_core") is strategy,
}))
"""


@pytest.fixture
def forget_strategy():
    """Make the strategy anew in the test, and forget it afterwards."""
    strategies._make_per_core_strategy.cache_clear()
    yield
    strategies._make_per_core_strategy.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(usable_cores() < 2, reason="one processor core")
def test_each_core_computes_with_one_thread():
    two = map(str, sorted(os.sched_getaffinity(0))[:2])
    # Not in `preexec_fn`: a fork of a process with threads of gRPC may crash before it starts.
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *two],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2_000:]
    assert json.loads(ended.stdout) == {
        "values": [1.0, 2.0],
        "devices": ["CPU:0", "CPU:1"],
        "threads": 1,
        "same": True,
    }


def test_one_core_has_the_usual_strategy(monkeypatch, forget_strategy):
    monkeypatch.setattr(strategies, "usable_cores", lambda: 1)
    assert strategies.make_strategy("per_core") is tf.distribute.get_strategy()


@pytest.mark.parametrize(
    ("cores", "replicas", "threads"), [(2, 2, 1), (3, 2, 1), (12, 8, 1), (64, 8, 8)]
)
def test_replicas_are_a_power_of_two(monkeypatch, forget_strategy, cores, replicas, threads):
    used = {}
    monkeypatch.setattr(strategies, "usable_cores", lambda: cores)
    monkeypatch.setattr(
        tf.config.threading,
        "set_intra_op_parallelism_threads",
        lambda count: used.update(threads=count),
    )
    monkeypatch.setattr(
        tf.config,
        "set_logical_device_configuration",
        lambda _, each: used.update(devices=len(each)),
    )
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *_: None)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", tuple)
    strategies.make_strategy("per_core")
    assert used == {"threads": threads, "devices": replicas}


def test_after_the_first_operation_it_is_too_late(monkeypatch, forget_strategy):
    monkeypatch.setattr(strategies, "usable_cores", lambda: 16)  # The tests have two devices.
    tf.zeros([])
    with pytest.raises(UserError, match="--strategy=per_core: TensorFlow has started already"):
        strategies.make_strategy("per_core")
