"""Order in which targets are made, failures, and other machines."""

import dataclasses
import fcntl
import os
import signal
import threading
import time
import weakref

import numpy as np
import pytest

from tests.conftest import SHAPE, make_toy_model
from tfdefense.attacks import FGSM
from tfdefense.classifiers import FrozenClassifier
from tfdefense.errors import PreemptedError, UserError, WorkFailedError
from tfdefense.papers import scheduler
from tfdefense.papers.leases import lease
from tfdefense.papers.scheduler import make_targets
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import StoredTarget
from tfdefense.training.preemption import raise_on_sigterm
from tfdefense.utils.file_lock import lock_directory


@dataclasses.dataclass(frozen=True)
class FileTarget(StoredTarget):
    """A file that contains the target's name."""

    kind = "parts"

    name: str
    first: "FileTarget | None" = None

    @property
    def title(self):
        return f"part {self.name}"

    def is_done(self, store):
        return self.path(store).is_file()

    def make(self, store):
        if self.name == "broken":
            raise UserError("no such thing")
        assert self.first is None or self.first.is_done(store)
        self.path(store).write_text(self.name)


class DirectoryTarget(FileTarget):
    """A directory that is locked while it is made."""

    def is_done(self, store):
        return self.path(store).is_dir()

    def make(self, store):
        self.path(store).mkdir()
        lock_directory(self.path(store), "store")


class FixedCost:
    """Estimator that remembers the names of the targets made."""

    def __init__(self):
        self.made = []

    def seconds(self, target):
        return 60.0

    def record(self, target, seconds):
        self.made.append(target.name)


@pytest.fixture
def store(tmp_path):
    return TargetStore(tmp_path)


@pytest.mark.slow
def test_a_finished_target_is_not_locked(store):
    target = DirectoryTarget("held")
    make_targets([target], store, FixedCost())
    handle = os.open(target.path(store) / ".lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


def test_the_time_of_a_resumed_target_is_not_recorded(store):
    @dataclasses.dataclass(frozen=True)
    class ResumedTarget(FileTarget):
        def is_done(self, store):
            return (self.path(store) / "last").is_file()

        def make(self, store):
            self.path(store).mkdir(exist_ok=True)
            (self.path(store) / "last").touch()

    resumed, new = ResumedTarget("resumed"), ResumedTarget("new")
    resumed.path(store).mkdir(parents=True)
    cost = FixedCost()
    make_targets([resumed, new], store, cost)
    assert cost.made == ["new"]


@pytest.mark.slow
def test_each_target_is_made_once_and_after_its_prerequisites(store, capsys):
    a = FileTarget("a")
    targets = [a, FileTarget("b", a), FileTarget("c", FileTarget("b", a))]
    cost = FixedCost()
    make_targets(targets, store, cost)
    assert cost.made == ["a", "b", "c"]
    assert "[1 of 3, about 3 min left] parts: part a" in capsys.readouterr().out
    make_targets(targets, store, cost)
    assert cost.made == ["a", "b", "c"]
    assert "3 of 3 targets exist; 0 to make" in capsys.readouterr().out


@pytest.mark.slow
def test_a_failed_target_stops_only_the_targets_that_need_it(store):
    broken = FileTarget("broken")
    targets = [broken, FileTarget("over", broken), FileTarget("good")]
    message = (
        "2 of 3 targets could not be made: part broken: no such thing; part over: needs part broken"
    )
    with pytest.raises(WorkFailedError, match=message):
        make_targets(targets, store, FixedCost())
    assert targets[2].is_done(store)


def test_an_unexpected_error_stops_only_its_target(store):
    @dataclasses.dataclass(frozen=True)
    class FullMemory(FileTarget):
        def make(self, store):
            raise MemoryError("no memory for an array")

    good = FileTarget("good")
    with pytest.raises(WorkFailedError, match="part broken: MemoryError: no memory for an array"):
        make_targets([FullMemory("broken"), good], store, FixedCost())
    assert good.is_done(store)


def test_finished_targets_are_saved_from_time_to_time(store, monkeypatch):
    made = []
    targets = [FileTarget("a"), FileTarget("b")]

    def save():
        made.append([target.is_done(store) for target in targets])

    make_targets(targets[:1], store, FixedCost(), save)
    assert not made
    monkeypatch.setattr(scheduler, "_SAVE_SECONDS", 0.0)
    make_targets(targets, store, FixedCost(), save)
    assert made == [[True, True]]


def test_a_failure_to_save_stops_nothing(store, monkeypatch, capsys):
    def save():
        raise OSError("No space left on device")

    monkeypatch.setattr(scheduler, "_SAVE_SECONDS", 0.0)
    target = FileTarget("a")
    make_targets([target], store, FixedCost(), save)
    assert target.is_done(store)
    assert "Not saved: No space left on device" in capsys.readouterr().out


class SigtermDuringWork(FileTarget):
    """A target during whose work SIGTERM arrives, in code that expects any exception."""

    def make(self, store):
        try:
            signal.raise_signal(signal.SIGTERM)
        except Exception as error:
            raise UserError("damaged") from error


def test_sigterm_is_not_a_failure_of_its_target(store, sigterm_is_harmless):
    targets = [SigtermDuringWork("stopped"), FileTarget("next")]
    with pytest.raises(PreemptedError, match="all: stopped by SIGTERM"), raise_on_sigterm("all"):
        make_targets(targets, store, FixedCost())
    assert not targets[1].is_done(store)
    assert not list(store.path.rglob("*.lease"))


@pytest.mark.slow
def test_a_target_of_another_machine_is_waited_for(store, monkeypatch, capsys):
    monkeypatch.setattr(scheduler, "_WAIT_SECONDS", 0.02)
    theirs, mine = FileTarget("theirs"), FileTarget("mine", FileTarget("theirs"))
    has_lease, is_waited_for = threading.Event(), threading.Event()
    sleep = time.sleep

    def sleep_and_signal(seconds):
        if threading.current_thread() is threading.main_thread():
            is_waited_for.set()
        sleep(seconds)

    monkeypatch.setattr(scheduler.time, "sleep", sleep_and_signal)

    def work_on_another_machine():
        with lease(theirs.path(store)):
            has_lease.set()
            is_waited_for.wait(60)
            theirs.make(store)

    other = threading.Thread(target=work_on_another_machine)
    other.start()
    has_lease.wait()
    cost = FixedCost()
    make_targets([theirs, FileTarget("free"), mine], store, cost)
    other.join()
    assert cost.made == ["free", "mine"]
    assert "Waiting for another machine" in capsys.readouterr().out


@pytest.mark.slow
def test_models_of_finished_targets_are_freed(store, toy_images):
    models = []

    @dataclasses.dataclass(frozen=True)
    class AttackTarget(FileTarget):
        kind = "parts"

        def make(self, store):
            model = FrozenClassifier(make_toy_model(), SHAPE)
            FGSM(epsilon=0.1)(model, toy_images[:4], np.zeros(4, np.int32))
            models.append(weakref.ref(model))
            super().make(store)

    make_targets([AttackTarget("a"), AttackTarget("b")], store, FixedCost())
    assert [reference() for reference in models] == [None, None]
