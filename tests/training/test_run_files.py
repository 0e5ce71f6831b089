"""Weight files of a run that are not those that its training wrote."""

import json
import os
import re

import pytest

from tests.conftest import make_toy_model
from tfdefense.errors import UserError
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.run_files import (
    read_last_step,
    require_original_files,
    save_file_hashes,
)

CHECKPOINT = "checkpoints/ckpt-7.index"


@pytest.fixture
def run(tmp_path):
    """A finished run of 7 steps, with an older checkpoint."""
    (tmp_path / "checkpoints").mkdir()
    for name in ("classifier.keras", CHECKPOINT, "checkpoints/ckpt-5.index"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "config.json").write_text('{"settings": {"seed": 0}, "surroundings": {}}')
    run = RunDirectory(tmp_path)
    save_file_hashes(run, 7)
    return run


def test_the_files_of_the_training_are_accepted(run):
    require_original_files(run)


def test_the_last_step_is_stored(run):
    assert read_last_step(run) == 7
    content = json.loads((run.hashes_path).read_text())
    del content["step"]  # Not in the first files of this kind.
    (run.hashes_path).write_text(json.dumps(content))
    require_original_files(run)
    assert read_last_step(run) is None
    (run.hashes_path).unlink()
    assert read_last_step(run) is None


def test_other_checkpoints_may_be_removed(run):
    (run.path / "checkpoints/ckpt-5.index").unlink()
    require_original_files(run)


def test_runs_without_hashes_are_not_checked(run):
    (run.hashes_path).unlink()
    (run.path / CHECKPOINT).unlink()
    require_original_files(run)


@pytest.mark.parametrize("name", ["classifier.keras", CHECKPOINT])
@pytest.mark.parametrize("content", [b"", b"of another run"])
def test_another_file_is_named(run, name, content):
    (run.path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} is not the file that the training wrote"):
        require_original_files(run)


def test_files_of_a_run_with_other_settings_are_refused(run):
    (run.path / "config.json").write_text('{"settings": {"seed": 1}, "surroundings": {}}')
    with pytest.raises(UserError, match=r"not trained with the settings in config\.json"):
        require_original_files(run)


def test_moved_data_are_no_other_settings(run):
    (run.path / "config.json").write_text(
        '{"settings": {"seed": 0}, "surroundings": {"data_dir": "/x"}}'
    )
    require_original_files(run)


def test_a_missing_file_is_named(run):
    (run.path / CHECKPOINT).unlink()
    with pytest.raises(UserError, match=f"{CHECKPOINT} is missing"):
        require_original_files(run)


@pytest.mark.parametrize(
    "name",
    [
        "../classifier.keras",
        "/proc/self/environ",
        "/dev/zero",
        "checkpoints/../../x",
        "checkpoints/ckpt-7.index/../../x",
        "checkpoints/ckpt-x.index",
        "checkpoints/ckpt-٣.index",
        "config.json",
        ".",
        "",
    ],
)
def test_only_files_that_training_writes_are_read(run, name):
    content = json.loads(run.hashes_path.read_text())
    content["files"][name] = "0" * 32
    run.hashes_path.write_text(json.dumps(content))
    expected = rf"files\.json: names {re.escape(repr(name))}, which training does not write"
    with pytest.raises(UserError, match=expected):
        require_original_files(run)


@pytest.mark.parametrize("folder", [False, True])
def test_a_link_to_another_place_is_not_read(run, tmp_path_factory, folder):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    linked = run.path / ("checkpoints" if folder else CHECKPOINT)
    linked.rename(elsewhere / linked.name)
    linked.symlink_to(elsewhere / linked.name)
    with pytest.raises(UserError, match=r"ckpt-7\.index: a link to another place"):
        require_original_files(run)
    save_file_hashes(run, 7)
    require_original_files(run)


def test_a_link_to_itself_is_an_error_of_one_line(run):
    path = run.path / CHECKPOINT
    path.unlink()
    path.symlink_to(path.name)
    with pytest.raises(UserError, match=r"ckpt-7\.index: cannot be read \(Too many levels of symb"):
        require_original_files(run)


def test_a_fifo_and_a_huge_file_are_not_read(run):
    path = run.path / CHECKPOINT
    os.truncate(path, 2**34 + 1)
    with pytest.raises(UserError, match=r"ckpt-7\.index: 17,179,869,185 bytes; at most"):
        require_original_files(run)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"ckpt-7\.index: a FIFO; a regular file is needed"):
        require_original_files(run)


def test_the_advice_names_the_command_that_has_the_flag(run):
    (run.path / CHECKPOINT).write_bytes(b"")
    with pytest.raises(UserError, match="train it again with bin/train and --overwrite"):
        require_original_files(run)


def test_a_classifier_saved_again_removes_the_hashes(run):
    run.save_classifier(make_toy_model())
    assert not run.hashes_path.exists()


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "\0", '{"schema": 2, "files": {}}', '{"schema": 1, "files": {"a": 1}}'),
        '{"schema": 1, "settings": "a", "files": {}, "step": "7"}',
    ],
)
def test_damaged_hashes_are_named(run, text):
    (run.hashes_path).write_text(text)
    with pytest.raises(UserError, match=r"files\.json: damaged"):
        require_original_files(run)
