"""bin/reproduce: several papers in one call."""

import types

import pytest

from tfdefense.cli import reproduce
from tfdefense.cli.main import main
from tfdefense.errors import WorkFailedError


@pytest.fixture
def run_papers(monkeypatch):
    """Names of the papers that ran; those with "broken" in their name fail."""
    ran = []

    class FakeReproduction:
        def __init__(self, selection, *_):
            self.paper = types.SimpleNamespace(name=selection.paper)

        def run(self):
            ran.append(self.paper.name)
            if "broken" in self.paper.name:
                raise WorkFailedError(f"1 of {len(ran)} targets could not be made")

    monkeypatch.setattr(reproduce, "Reproduction", FakeReproduction)
    return ran


def test_a_failure_in_one_paper_does_not_stop_the_others(run_papers, monkeypatch, capsys):
    names = ["first", "broken_second", "third", "broken_fourth"]
    monkeypatch.setattr(reproduce.paper, "paper_names", lambda: names)
    assert main(["reproduce", "--all"]) == 1
    assert run_papers == names
    assert capsys.readouterr().err == (
        "tfdefense: paper broken_second: 1 of 2 targets could not be made; paper broken_fourth:"
        " 1 of 4 targets could not be made\n"
    )
