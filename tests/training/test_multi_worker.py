import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training import worker
from tfdefense.errors import UserError
from tfdefense.training import strategies

ROOT = Path(__file__).parents[2]


def free_ports(count):
    found = [socket.socket() for _ in range(count)]
    for each in found:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in found]
    for each in found:
        each.close()
    return ports


def start(place, name, *die_at):
    """Both workers, into one run directory; what they say goes into files of that name."""
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        arguments = [
            str(place / "classifier.keras"),
            str(place / "run"),
            str(place / f"{name}-{index}.npz"),
        ]
        processes.append(
            subprocess.Popen(
                [
                    sys.executable,
                    worker.__file__,
                    *arguments,
                    *die_at,
                ],
                env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CONFIG": config},
                cwd=place,
                stdout=(place / f"{name}-{index}.log").open("w"),
                stderr=subprocess.STDOUT,
            )
        )
    return processes


def finish(processes):
    return [process.wait(timeout=180) for process in processes]


@pytest.fixture(scope="module")
def place(tmp_path_factory, toy_model):
    place = tmp_path_factory.mktemp("workers")
    toy_model.save(place / "classifier.keras")
    return place


def test_a_worker_dies_and_all_go_on_from_the_checkpoint_to_what_one_process_gets(place):
    chief, other = finish(start(place, "broken", "6"))
    assert other == -9
    assert chief == 1, (place / "broken-0.log").read_text()
    failure = (place / "broken-0.failed").read_text()
    assert failure.startswith("worker 0 of 2: another worker is gone or cannot be reached")
    assert "Start all of them again with the same command" in failure
    assert not (place / "broken-0.npz").exists()

    assert finish(start(place, "whole")) == [0, 0], (place / "whole-1.log").read_text()
    expected = worker.trained(place / "classifier.keras", place / "one")
    found = [np.load(place / f"whole-{index}.npz") for index in range(2)]
    assert set(found[0].files) == set(found[1].files) == set(expected)
    for name, value in expected.items():
        # All workers hold the same bits; one process adds up in another order.
        np.testing.assert_array_equal(found[0][name], found[1][name], err_msg=name)
        np.testing.assert_allclose(found[0][name], value, atol=2e-4, err_msg=name)
    assert "going on from step 6" in (place / "whole-0.log").read_text()


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
        strategies.make("multi_worker")
