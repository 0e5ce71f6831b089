"""Leases among processes and machines that share a folder."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tfdefense.papers import leases
from tfdefense.papers.leases import lease

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from tfdefense.papers.leases import lease
with lease(Path(sys.argv[1])) as is_leased:
    print(is_leased, flush=True)
    time.sleep(600)
"""


def can_lease(path):
    with lease(path) as is_leased:
        return is_leased


def test_only_one_process_holds_a_lease(tmp_path):
    path = tmp_path / "below" / "thing"
    with lease(path) as is_leased:
        assert is_leased
        assert not can_lease(path)
        assert can_lease(tmp_path / "below" / "other")
    assert can_lease(path)
    assert list((tmp_path / "below").iterdir()) == []


def test_a_slow_holder_leaves_the_lease_of_its_successor_alone(tmp_path, monkeypatch):
    path, file = tmp_path / "thing", tmp_path / "thing.lease"
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    with lease(path) as is_leased:
        assert is_leased
        file.write_text('{"lease": "of the successor"}')
        os.utime(file, (1, 1))
        time.sleep(0.3)
        assert file.stat().st_mtime == 1, "renewed the lease of another process"
    assert file.read_text() == '{"lease": "of the successor"}'


def test_a_lease_is_released_if_the_work_fails(tmp_path):
    try:
        with lease(tmp_path / "thing"):
            raise RuntimeError
    except RuntimeError:
        assert can_lease(tmp_path / "thing")


def test_a_killed_process_of_this_machine_loses_its_lease_at_once(tmp_path):
    path = tmp_path / "thing"
    command = [sys.executable, "-c", HOLDER, path]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert holder.stdout.readline() == "True\n"
    assert not can_lease(path)
    holder.kill()
    holder.wait()
    assert can_lease(path)
    assert list(tmp_path.iterdir()) == []


def test_another_machine_loses_its_lease_after_two_minutes_without_renewal(tmp_path):
    path, file = tmp_path / "thing", tmp_path / "thing.lease"
    file.write_text(json.dumps({"host": "far", "machine": "another", "process": 1}))
    assert not can_lease(path)  # The machine or the network may be slow.
    long_ago = time.time() - leases.DEAD_AFTER_SECONDS - 5
    os.utime(file, (long_ago, long_ago))
    assert can_lease(path)
    assert list(tmp_path.iterdir()) == []


def test_a_lease_is_renewed_during_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.02)
    with lease(tmp_path / "thing"):
        file = tmp_path / "thing.lease"
        long_ago = time.time() - 1000
        os.utime(file, (long_ago, long_ago))
        deadline = time.monotonic() + 10
        while file.stat().st_mtime < time.time() - 500 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not can_lease(tmp_path / "thing")


def test_one_of_several_processes_takes_over_a_dead_lease(tmp_path):
    path = tmp_path / "thing"
    file = tmp_path / "thing.lease"
    file.write_text("{}")
    long_ago = time.time() - 1000
    os.utime(file, (long_ago, long_ago))
    command = [sys.executable, "-c", HOLDER, path]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(4)
    ]
    try:
        answers = [process.stdout.readline() for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert sorted(answers) == ["False\n"] * 3 + ["True\n"]


def test_lease_that_is_a_fifo_or_deep_json_does_not_hang_or_fail(tmp_path):
    os.mkfifo(tmp_path / "thing.lease")
    assert not can_lease(tmp_path / "thing")
    (tmp_path / "other.lease").write_text("[" * 100_000)
    assert not can_lease(tmp_path / "other")
