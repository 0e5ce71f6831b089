"""The order in which artefacts are made, and what happens when one cannot be."""

import dataclasses
import fcntl
import os
import threading
import time
import weakref

import numpy as np
import pytest

from tests.conftest import SHAPE, make_toy_model
from tfdefense.attacks import FGSM
from tfdefense.classifiers import FrozenClassifier
from tfdefense.errors import UserError, WorkFailedError
from tfdefense.papers import scheduler
from tfdefense.papers.leases import lease
from tfdefense.papers.scheduler import make_targets
from tfdefense.papers.store import TargetStore
from tfdefense.papers.targets import StoredTarget
from tfdefense.utils.file_lock import lock_directory


@dataclasses.dataclass(frozen=True)
class Part(StoredTarget):
    """A file with its name in it."""

    kind = "parts"

    name: str
    first: "Part | None" = None

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


class NoCost:
    def __init__(self):
        self.seen = []

    def seconds(self, artefact):
        return 60.0

    def made(self, artefact, seconds):
        self.seen.append(artefact.name)


@pytest.fixture
def store(tmp_path):
    return TargetStore(tmp_path)


class Directory(Part):
    """A directory that its maker holds while it is made."""

    def is_done(self, store):
        return self.path(store).is_dir()

    def make(self, store):
        self.path(store).mkdir()
        lock_directory(self.path(store), "store")


def test_what_is_made_is_open_to_other_processes(store):
    part = Directory("held")
    make_targets([part], store, NoCost())
    handle = os.open(part.path(store) / ".lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


def test_each_is_made_once_and_after_what_it_needs(store, capsys):
    a = Part("a")
    parts = [a, Part("b", a), Part("c", Part("b", a))]
    cost = NoCost()
    make_targets(parts, store, cost)
    assert cost.seen == ["a", "b", "c"]
    assert "[1 of 3, about 3 min left] parts: part a" in capsys.readouterr().out
    make_targets(parts, store, cost)
    assert cost.seen == ["a", "b", "c"]
    assert "3 of 3 artefacts are there; 0 to make" in capsys.readouterr().out


def test_what_cannot_be_made_keeps_only_its_own_from_being_made(store):
    broken = Part("broken")
    parts = [broken, Part("over", broken), Part("good")]
    with pytest.raises(
        WorkFailedError,
        match="2 of 3 could not be made: part broken: no such thing; part over: needs part broken",
    ):
        make_targets(parts, store, NoCost())
    assert parts[2].is_done(store)


def test_what_another_machine_makes_is_waited_for(store, monkeypatch, capsys):
    monkeypatch.setattr(scheduler, "_WAIT_SECONDS", 0.02)
    theirs, mine = Part("theirs"), Part("mine", Part("theirs"))
    holding, waited_for = threading.Event(), threading.Event()
    sleep = time.sleep

    def waiting(seconds):
        if threading.current_thread() is threading.main_thread():
            waited_for.set()
        sleep(seconds)

    monkeypatch.setattr(scheduler.time, "sleep", waiting)

    def other_machine():
        with lease(theirs.path(store)):
            holding.set()
            waited_for.wait(60)
            theirs.make(store)

    other = threading.Thread(target=other_machine)
    other.start()
    holding.wait()
    cost = NoCost()
    make_targets([theirs, Part("free"), mine], store, cost)
    other.join()
    assert cost.seen == ["free", "mine"]
    assert "Waiting for another machine" in capsys.readouterr().out


def test_what_was_compiled_for_one_artefact_does_not_stay(store, toy_images):
    """A grid of hundreds would fill the memory with the models of those that are done."""
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Attacked(Part):
        kind = "parts"

        def make(self, store):
            model = FrozenClassifier(make_toy_model(), SHAPE)
            FGSM(epsilon=0.1)(model, toy_images[:4], np.zeros(4, np.int32))
            seen.append(weakref.ref(model))
            super().make(store)

    make_targets([Attacked("a"), Attacked("b")], store, NoCost())
    assert [reference() for reference in seen] == [None, None]
