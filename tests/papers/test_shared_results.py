"""Table 1 of the small paper, filled by several shards, stores and machines.

It is made once; tests change a copy.
"""

import dataclasses
import shutil
import types

import pytest

import tfdefense
from tests.papers.conftest import run_command, working_folder
from tfdefense.papers import store


@pytest.fixture(scope="module")
def table_1(small_papers, tmp_path_factory):
    """Table 1, made in two shards."""
    folder = tmp_path_factory.mktemp("table_1")
    with working_folder(folder, small_papers):
        shards = [run_command("--tables=1", f"--shard={index}/2") for index in (1, 2)]
    return types.SimpleNamespace(folder=folder, shards=shards)


@pytest.fixture
def copy_of_table_1(table_1, small):
    shutil.copytree(table_1.folder, small, dirs_exist_ok=True)
    return small


@pytest.mark.slow
def test_shards_fill_one_table_together(table_1):
    first, second = table_1.shards
    assert first.status == 0
    assert "1 of 2 figures measured" in first.printed
    assert second.status == 0
    assert "1 of 3 targets exist; 2 to make" in second.printed  # The classifier exists.
    assert "2 of 2 figures measured" in second.printed


@pytest.mark.slow
def test_measured_cells_are_not_measured_again_with_another_store(copy_of_table_1):
    table = copy_of_table_1 / "results" / "small" / "1.md"
    before = table.read_text()
    plan = run_command("--all", "--store=another", "--dry_run")
    assert plan.status == 0
    assert "cells           4 needed,    2 to make" in plan.printed
    run = run_command("--tables=1", "--store=another")
    assert run.status == 0
    assert "2 of 2 targets exist; 0 to make" in run.printed
    assert table.read_text() == before
    assert not (copy_of_table_1 / "another" / "classifiers").exists()


@pytest.fixture
def replace_digits(monkeypatch):
    """Function that replaces the embedded digits by a lossy copy."""
    digits = tfdefense.data.load("digits")
    lossy = dataclasses.replace(digits.test, images=digits.test.images.round(1))
    lossy = dataclasses.replace(digits, test=lossy)

    def replace():
        store._fingerprints.cache_clear()
        monkeypatch.setattr(store, "_dataset", lambda name, data_dir: lossy)

    store._fingerprints.cache_clear()
    yield replace
    store._fingerprints.cache_clear()


@pytest.mark.slow
def test_a_store_is_made_from_the_same_images(copy_of_table_1, capsys, replace_digits):
    replace_digits()
    for dry_run in ([], ["--dry_run"]):
        capsys.readouterr()
        assert run_command("--all", *dry_run).status == 2
        message = "--store=runs/reproduce: made from other images of 'digits'"
        assert message in capsys.readouterr().err
    assert not (copy_of_table_1 / "results" / "small" / "2.md").exists()
    assert run_command("--tables=1").status == 0  # Nothing is missing.
    (copy_of_table_1 / "runs/reproduce/images/digits.json").write_text("{")
    assert run_command("--all").status == 2
    assert "digits.json: damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_the_cells_of_a_table_use_the_same_images(copy_of_table_1, capsys, replace_digits):
    table_2 = copy_of_table_1 / "results" / "small" / "2.md"
    replace_digits()
    assert run_command("--all", "--store=another").status == 2
    message = "The measured figures: made from other images of 'digits'"
    assert message in capsys.readouterr().err
    assert not (copy_of_table_1 / "another").exists()
    elsewhere = ["--store=another", "--output=other"]
    assert run_command("--tables=2", "--classifiers=Net", *elsewhere).status == 0
    before = table_2.exists()
    capsys.readouterr()
    assert run_command("--all", *elsewhere[:1]).status == 2
    error = capsys.readouterr().err
    assert "on other images of 'digits' than other cells of its table" in error
    assert table_2.exists() == before
