"""File names that are one file where the target's file system ignores case or normalisation."""

import unicodedata
from pathlib import Path

import pytest

from tests.serving.client.counting_model import CountingModel, write_image
from tfdefense.serving.client import folded_names

COMPOSED, DECOMPOSED = "caf\u00e9.png", "cafe\u0301.png"


@pytest.fixture
def places(tmp_path):
    """A folder of images whose names differ in case, also of a folder, and the target."""
    for name in ("A.png", "a.png", "b.png", "Sub/c.png", "sub/c.png"):
        write_image(tmp_path / "in" / name)
    return tmp_path / "in", tmp_path / "out"


def fold(_, names):
    """Return the first two names, as on a file system that ignores their difference."""
    return names[0], names[1]


def test_names_that_are_one_file_are_refused(run, places, capsys, monkeypatch):
    monkeypatch.setattr(folded_names, "find_folded_pair", fold)
    assert run(CountingModel()) == 2
    printed = capsys.readouterr().err
    assert f"--output={places[1]}: A.png and a.png are one file on its file system." in printed
    assert len(printed.splitlines()) == 1
    assert not places[1].exists()


def test_names_that_look_equal_are_shown_by_their_characters(run, places, capsys, monkeypatch):
    for path in [*places[0].glob("*.png"), *places[0].glob("?ub/*")]:
        path.unlink()
    write_image(places[0] / COMPOSED)
    write_image(places[0] / DECOMPOSED)
    monkeypatch.setattr(folded_names, "find_folded_pair", fold)
    assert run(CountingModel()) == 2
    assert r"'cafe\u0301.png' and 'caf\xe9.png' are one file" in capsys.readouterr().err


def test_names_are_distinct_where_the_file_system_tells_them_apart(run, places):
    model = CountingModel()
    assert run(model) == 0
    assert model.answered == 5
    assert len(list(places[1].rglob("*.png"))) == 5
    assert not list(places[1].parent.glob("*.partial"))


def test_nothing_is_written_for_names_that_are_not_similar(tmp_path, monkeypatch):
    monkeypatch.setattr(folded_names, "find_folded_pair", fold)
    folded_names.require_distinct_names(tmp_path / "out", ["a.png", "b.png", "c/a.png"])


class FoldingPath(type(Path())):
    """Path whose existing files have any case and normalisation, as on APFS."""

    def exists(self):
        here = unicodedata.normalize("NFC", str(self)).casefold()
        others = self.parent.iterdir() if self.parent.is_dir() else []
        return here in {unicodedata.normalize("NFC", str(each)).casefold() for each in others}

    def samefile(self, other):
        return unicodedata.normalize("NFC", str(self)).casefold() == (
            unicodedata.normalize("NFC", str(other)).casefold()
        )


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        (["A.png", "a.png"], ("A.png", "a.png")),
        ([COMPOSED, DECOMPOSED], (COMPOSED, DECOMPOSED)),
        (["x.png", "a.PNG", "X.png"], ("x.png", "X.png")),
        (["a.png", "b.png"], None),
    ],
)
def test_the_probe_finds_the_file_under_its_other_name(names, pair, tmp_path, monkeypatch):
    assert folded_names.find_folded_pair(tmp_path, names) is None  # This disk tells them apart.
    monkeypatch.setattr(folded_names, "Path", FoldingPath)
    assert folded_names.find_folded_pair(tmp_path, names) == pair
    assert list(tmp_path.iterdir()) == []
