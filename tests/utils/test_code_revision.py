"""The revision of code changes with what code does, and with nothing else."""

import pytest

from tfdefense.attacks import FGSM, AutoAttack, Square
from tfdefense.defenses import BitDepth, RobustPurifier
from tfdefense.utils import code_revision as module
from tfdefense.utils.code_revision import code_revision, read_source


@pytest.fixture
def changed(monkeypatch):
    """Return a function that gives the revision of a class after its sources changed."""

    def revision(kind, sources):
        for cached in (module._tree, module._imports, code_revision):
            cached.cache_clear()
        monkeypatch.setattr(module, "read_source", lambda name: sources(name, read_source(name)))
        return code_revision(kind)

    yield revision
    monkeypatch.undo()
    for cached in (module._tree, module._imports, code_revision):
        cached.cache_clear()


def with_line(where, line):
    return lambda name, source: f"{source}\n{line}\n" if name == where else source


NORMS, SQUARE = "tfdefense.attacks.core.norms", "tfdefense.attacks.square"
THRESHOLDS = "tfdefense.networks.pixel_thresholds"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (FGSM, "tfdefense.attacks.fgsm"),
        (FGSM, NORMS),
        (AutoAttack, SQUARE),
        (RobustPurifier, THRESHOLDS),
        (RobustPurifier, NORMS),
    ],
)
def test_a_change_of_used_code_changes_the_revision(changed, kind, where):
    assert changed(kind, with_line(where, "CHANGED = 1")) != changed(kind, with_line("", ""))


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (FGSM, SQUARE),
        (BitDepth, THRESHOLDS),
        (BitDepth, "tfdefense.attacks.core.shards"),
        (Square, "tfdefense.evaluation.evaluator"),
        (Square, "tfdefense.utils.progress"),
    ],
)
def test_a_change_of_other_code_keeps_the_revision(changed, kind, where):
    assert changed(kind, with_line(where, "CHANGED = 1")) == changed(kind, with_line("", ""))


def test_docstrings_comments_and_layout_keep_the_revision(changed):
    def rewrite(name, source):
        if name != NORMS:
            return source
        source = source.replace('"""Return', '"""Compute and return')
        return source.replace("\n\n\ndef l0", "\n\n# The number of pixels.\n\n\n\ndef l0")

    assert rewrite(NORMS, read_source(NORMS)) != read_source(NORMS)
    assert changed(FGSM, rewrite) == changed(FGSM, with_line("", ""))


def test_without_source_text_the_declared_number_counts(changed, monkeypatch):
    def no_source(name, source):
        return None

    first = changed(FGSM, no_source)
    assert first == changed(FGSM, no_source)
    monkeypatch.setattr(module, "_DECLARED_REVISION", 2)
    assert changed(FGSM, no_source) != first


def test_the_version_of_a_library_counts(changed, monkeypatch):
    before = changed(FGSM, with_line("", ""))
    monkeypatch.setattr(module, "_library_version", lambda library: "99")
    assert changed(FGSM, with_line("", "")) != before


def test_an_attack_of_another_package_covers_its_module(changed):
    class Custom(FGSM):
        """Attack of this test."""

    assert changed(Custom, with_line(__name__, "CHANGED = 1")) != changed(Custom, with_line("", ""))
    assert changed(Custom, with_line(NORMS, "CHANGED = 1")) != changed(Custom, with_line("", ""))
