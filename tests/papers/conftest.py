"""A small paper of four figures, and the grids of the real papers."""

import contextlib
import io
import re
import signal
import types

import pytest

from tests.small_classifier import train_small_classifier
from tfdefense.cli.main import main
from tfdefense.papers import paper
from tfdefense.papers.budget import load_budget
from tfdefense.papers.grid import PaperGrid
from tfdefense.papers.paper import load_paper

TOML = """
title = "A Small Paper"
year = 2026
[tables]
1 = "nothing"
2 = "two defences"
[fooled_only]
tables = ["2"]
[classifiers]
"Net" = "lenet"
"Other" = "mnist_cnn"
[attacks.mnist]
"FGSM" = { attack = "fgsm:epsilon=0.3", reason = "because" }
[defenses]
"Rounding" = { defense = "bit_depth", reason = "because" }
"MagNet" = { defense = "magnet", trained_with = "Net", reason = "because" }
"""
CSV = """paper,table,dataset,attacked_classifier,defense,trained_with,attack,accuracy_percent
small,1,mnist,Net,none,,benign,99.0
small,1,mnist,Net,none,,FGSM,10.0
small,2,mnist,Net,Rounding,,FGSM,80.0
small,2,mnist,Other,MagNet,,FGSM,20.0
"""


def make_grid(name="apeganpp", tables=None, dataset=None, budget="cpu", classifiers=None):
    """Return the grid of some figures of a real paper."""
    loaded = load_paper(name)
    return PaperGrid(loaded, loaded.select(tables, dataset, classifiers), load_budget(budget))


@pytest.fixture(scope="session")
def small_papers(tmp_path_factory):
    """Folder with the CSV and TOML files of the small paper."""
    folder = tmp_path_factory.mktemp("papers")
    (folder / "small.csv").write_text(CSV)
    (folder / "small.toml").write_text(TOML)
    return folder


@contextlib.contextmanager
def working_folder(folder, papers):
    """Work in `folder`, with the papers in `papers` and a small mnist_cnn, not with the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "_HERE", papers)
        train_small_classifier(patch)
        patch.chdir(folder)
        load_paper.cache_clear()
        yield
    load_paper.cache_clear()


@pytest.fixture
def sigterm_is_harmless():
    """Handler of SIGTERM that does nothing, so that a signal too many does not end the tests."""

    def ignore(number, frame):
        del number, frame

    previous = signal.signal(signal.SIGTERM, ignore)
    yield ignore
    signal.signal(signal.SIGTERM, previous)


@pytest.fixture
def small(tmp_path, small_papers):
    """Empty folder in which commands run, with the small paper."""
    with working_folder(tmp_path, small_papers):
        yield tmp_path


def squeeze(text):
    """Return a text with single spaces: the cells of tables are padded."""
    return re.sub(" +", " ", text)


def run_command(*flags):
    """Run `bin/reproduce` for the small paper; return its exit status and what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main(["reproduce", "--paper=small", "--budget=smoke", *flags])
    return types.SimpleNamespace(status=status, printed=printed.getvalue())
