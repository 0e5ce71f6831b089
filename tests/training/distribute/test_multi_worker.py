import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest

from tests.training.distribute import worker
from tfdefense.errors import UserError
from tfdefense.training.distribute import multi_worker, strategies

ROOT = Path(__file__).parents[3]
PROCESSES = multiprocessing.get_context("forkserver")


def free_ports(count):
    found = [socket.socket() for _ in range(count)]
    for each in found:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in found]
    for each in found:
        each.close()
    return ports


@pytest.fixture(scope="module", autouse=True)
def fork_server():
    """All packages are imported once; processes start from there. Imports take longer than their work."""
    PROCESSES.set_forkserver_preload([worker.__name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        forkserver.ensure_running()


def start_process(*arguments):
    """Start `worker.main`."""
    process = PROCESSES.Process(target=worker.main, args=arguments, daemon=True)
    process.start()
    return process


def run_two_workers(place, run, name, die_at=None):
    """Run `worker.main` as two workers; return their exit statuses."""
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    workers = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        workers.append(start_process(place, run, f"{name}-{index}", config, die_at))
    for each in workers:
        each.join(timeout=240)
    return [each.exitcode for each in workers]


@pytest.fixture(scope="module")
def place(tmp_path_factory, toy_model):
    place = tmp_path_factory.mktemp("processes")
    toy_model.save(place / "classifier.keras")
    return place


@pytest.fixture(scope="module")
def uninterrupted(place):
    """The defence after a training in this process, without interruption."""
    return worker.train(place / "classifier.keras", place / "one")


@pytest.mark.slow
def test_a_killed_and_resumed_run_ends_with_the_same_bits(place, uninterrupted, capsys):
    """Another process resumes the run. tests/soak/kill_resume.py does this 20 times with `bin/train`."""
    process = start_process(place, "killed", "first")
    checkpoints = place / "killed" / "checkpoints"
    while process.exitcode is None and not list(checkpoints.glob("ckpt-4.index")):
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -9, (place / "first.log").read_text()
    resumed = worker.train(place / "classifier.keras", place / "killed")
    assert "resuming from step" in capsys.readouterr().out
    expected, found = (worker.training_state(each) for each in (uninterrupted, resumed))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_two_workers_resume_after_one_died_and_end_as_one_process(place, uninterrupted):
    log = place / "broken-0.log"
    assert run_two_workers(place, "run", "broken", 6) == [1, -9], log.read_text()
    failure = (place / "broken-0.failed").read_text()
    assert failure.startswith("worker 0 of 2: another worker has stopped or cannot be reached")
    assert "Start all workers again with the same command" in failure
    assert not (place / "broken-0.npz").exists()

    log = place / "whole-1.log"
    assert run_two_workers(place, "run", "whole") == [0, 0], log.read_text()
    assert "resuming from step 6" in (place / "whole-0.log").read_text()
    expected = {
        **worker.training_state(uninterrupted),
        **worker.attack_results(uninterrupted, place / "attack"),
    }
    found = [np.load(place / f"whole-{index}.npz") for index in range(2)]
    assert set(found[0].files) == set(found[1].files) == set(expected)
    for name, value in expected.items():
        # The workers have the same bits. One process adds in another order.
        np.testing.assert_array_equal(found[0][name], found[1][name], err_msg=name)
        close = np.isclose(found[0][name], value, rtol=1e-2, atol=1e-3)
        # A white-box attack uses the sign of a gradient, which rounding may change near zero.
        assert np.mean(close) >= (0.97 if name == "white" else 1), name


@pytest.mark.slow
def test_sigterm_ends_a_worker_whose_others_have_not_started(tmp_path):
    """TensorFlow's own wait would hold Python's lock and ignore the signal."""
    own, other = (f"localhost:{port}" for port in free_ports(2))
    task = {"type": "worker", "index": 1}
    config = json.dumps({"cluster": {"worker": [other, own]}, "task": task})
    log = tmp_path / "log"
    command = ["train", "--defense=apeganpp", "--strategy=multi_worker", f"--run={tmp_path}/run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tfdefense.cli.main", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CONFIG": config},
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
    )
    while process.poll() is None and "waiting for all workers" not in log.read_text():
        time.sleep(0.1)
    time.sleep(1.0)
    process.terminate()
    assert process.wait(timeout=60) == 143, log.read_text()
    message = f"tfdefense: stopped by SIGTERM while waiting for the worker on {other}."
    assert log.read_text().splitlines()[-1] == message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "TF_CONFIG is not set. Set it to JSON such as"),
        ("{", "TF_CONFIG={ is invalid. Set it to JSON such as"),
        ('{"cluster": {"worker": ["a:1"]}}', "is invalid. Set it to JSON such as"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "task worker 1 given, but the cluster has 1 of this job: 0 to 0 needed",
        ),
        (
            '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
            "unknown job in TF_CONFIG 'ps'",
        ),
        (
            '{"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
            "2 chiefs given, exactly 1 needed",
        ),
    ],
)
def test_an_invalid_tf_config_is_named(monkeypatch, config, message):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match=message.replace("{", r"\{")):
        strategies.make_strategy("multi_worker")


def test_an_error_about_a_name_that_is_not_utf_8_reaches_all_workers(monkeypatch):
    sent = []

    def fail():
        raise UserError("a\udcfc\ud800")

    monkeypatch.setattr(multi_worker, "worker_count", lambda: 2)
    monkeypatch.setattr(multi_worker, "gather_arrays", lambda part: (sent.append(part), sent[0])[1])
    for is_chief in (True, False):
        monkeypatch.setattr(multi_worker, "is_chief", lambda answer=is_chief: answer)
        with pytest.raises(UserError, match="a\udcfc\ud800"):
            multi_worker.run_on_chief(fail)
