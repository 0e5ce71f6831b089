import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.training.distribute import worker
from tfdefense.errors import UserError
from tfdefense.training.distribute import strategies

ROOT = Path(__file__).parents[3]


def free_ports(count):
    found = [socket.socket() for _ in range(count)]
    for each in found:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in found]
    for each in found:
        each.close()
    return ports


def start(place, run, name, *die_at, config=None):
    """A process; what it says goes into a file of its name."""
    arguments = [place / "classifier.keras", place / run, place / f"{name}.npz", *die_at]
    return subprocess.Popen(
        [sys.executable, worker.__file__, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **({"TF_CONFIG": config} if config else {})},
        cwd=place,
        stdout=(place / f"{name}.log").open("w"),
        stderr=subprocess.STDOUT,
    )


def both(place, run, name, *die_at):
    """Exit statuses of two workers."""
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        processes.append(start(place, run, f"{name}-{index}", *die_at, config=config))
    return [process.wait(timeout=240) for process in processes]


@pytest.fixture(scope="module")
def place(tmp_path_factory, toy_model):
    place = tmp_path_factory.mktemp("processes")
    toy_model.save(place / "classifier.keras")
    return place


@pytest.fixture(scope="module")
def unbroken(place):
    """What training in this process leaves."""
    return worker.trained(place / "classifier.keras", place / "one")


def test_killed_and_started_again_it_ends_with_the_same_bits(place, unbroken):
    """tests/soak/kill_resume.py does this 20 times to `bin/train`."""
    process = start(place, "killed", "first")
    checkpoints = place / "killed" / "checkpoints"
    while process.poll() is None and not list(checkpoints.glob("ckpt-4.index")):
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -9, (place / "first.log").read_text()
    assert start(place, "killed", "second").wait(timeout=240) == 0
    assert "going on from step" in (place / "second.log").read_text()
    expected, found = worker.state(unbroken), np.load(place / "second.npz")
    assert set(found.files) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_worker_dies_and_all_go_on_from_the_checkpoint_to_what_one_process_gets(place, unbroken):
    assert both(place, "run", "broken", "6") == [1, -9], (place / "broken-0.log").read_text()
    failure = (place / "broken-0.failed").read_text()
    assert failure.startswith("worker 0 of 2: another worker is gone or cannot be reached")
    assert "Start all of them again with the same command" in failure
    assert not (place / "broken-0.npz").exists()

    assert both(place, "run", "whole") == [0, 0], (place / "whole-1.log").read_text()
    assert "going on from step 6" in (place / "whole-0.log").read_text()
    expected = {**worker.state(unbroken), **worker.judged(unbroken, place / "attack")}
    found = [np.load(place / f"whole-{index}.npz") for index in range(2)]
    assert set(found[0].files) == set(found[1].files) == set(expected)
    for name, value in expected.items():
        # All workers hold the same bits; one process adds up in another order.
        np.testing.assert_array_equal(found[0][name], found[1][name], err_msg=name)
        close = np.isclose(found[0][name], value, rtol=1e-2, atol=1e-3)
        # A white-box attack follows the sign of a gradient, which a last bit may turn where it is next to nothing.
        assert np.mean(close) >= (0.97 if name == "white" else 1), name


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "TF_CONFIG is not set; such as"),
        ("{", "TF_CONFIG={: such as"),
        ('{"cluster": {"worker": ["a:1"]}}', "such as"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "task worker 1 of 1",
        ),
        (
            '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
            "unknown job in TF_CONFIG 'ps'",
        ),
        (
            '{"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
            "2 chiefs, one needed",
        ),
    ],
)
def test_a_tf_config_that_will_not_do_is_named(monkeypatch, config, message):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match=message.replace("{", r"\{")):
        strategies.make_strategy("multi_worker")
