"""Who may make what, among processes and machines that share a folder."""

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
with lease(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(600)
"""


def held(path):
    with lease(path) as mine:
        return mine


def test_one_at_a_time(tmp_path):
    path = tmp_path / "below" / "thing"
    with lease(path) as mine:
        assert mine
        assert not held(path)
        assert held(tmp_path / "below" / "other")
    assert held(path)
    assert list((tmp_path / "below").iterdir()) == []


def test_who_was_thought_dead_leaves_the_next_ones_lease_alone(tmp_path, monkeypatch):
    path, file = tmp_path / "thing", tmp_path / "thing.lease"
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    with lease(path) as mine:
        assert mine
        file.write_text('{"lease": "of who took over"}')
        os.utime(file, (1, 1))
        time.sleep(0.3)
        assert file.stat().st_mtime == 1, "kept another's lease alive"
    assert file.read_text() == '{"lease": "of who took over"}'


def test_it_is_given_back_when_the_work_fails(tmp_path):
    try:
        with lease(tmp_path / "thing"):
            raise RuntimeError
    except RuntimeError:
        assert held(tmp_path / "thing")


def test_a_killed_process_of_this_machine_loses_it_at_once(tmp_path):
    path = tmp_path / "thing"
    command = [sys.executable, "-c", HOLDER, path]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert holder.stdout.readline() == "True\n"
    assert not held(path)
    holder.kill()
    holder.wait()
    assert held(path)
    assert list(tmp_path.iterdir()) == []


def test_another_machine_loses_it_when_it_was_silent_for_two_minutes(tmp_path):
    path, file = tmp_path / "thing", tmp_path / "thing.lease"
    file.write_text(json.dumps({"host": "far", "machine": "another", "process": 1}))
    assert not held(path)  # It may be slow, or the network may be.
    long_ago = time.time() - leases.DEAD_AFTER_SECONDS - 5
    os.utime(file, (long_ago, long_ago))
    assert held(path)
    assert list(tmp_path.iterdir()) == []


def test_it_is_touched_as_long_as_the_work_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    with lease(tmp_path / "thing"):
        file = tmp_path / "thing.lease"
        long_ago = time.time() - 1000
        os.utime(file, (long_ago, long_ago))
        deadline = time.monotonic() + 10
        while file.stat().st_mtime < time.time() - 500 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not held(tmp_path / "thing")


def test_of_many_who_find_it_dead_one_takes_over(tmp_path):
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
