import contextlib
import errno
import fcntl
import shutil

import pytest

from tfdefense.errors import DirectoryLockedError, UserError
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils.file_lock import release_directory


def test_all_workers_look_at_a_run_before_the_chief_writes(tmp_path, monkeypatch):
    run, seen = RunDirectory(tmp_path / "run"), []
    monkeypatch.setattr(multi_worker, "wait_for_workers", lambda: seen.append(run.path.exists()))
    run.create_or_reuse(StoredConfig("attack", {}, {}))
    assert seen[0] is False
    assert run.exists()


def test_a_classifier_is_there_only_if_all_workers_see_it(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path)
    assert not run.has_classifier()
    run.classifier_path.touch()
    assert run.has_classifier()
    monkeypatch.setattr(multi_worker, "any_worker", lambda missing: True)  # Another lacks it.
    assert not run.has_classifier()


def config(images="a", **settings):
    return StoredConfig("attack", {"dataset": "dir:x", **settings}, {"images": images})


def test_a_run_with_other_images_is_refused(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.create_or_reuse(config())
    run.create_or_reuse(config())
    with pytest.raises(UserError, match=r"trained on other images: those of dir:x have changed"):
        run.create_or_reuse(config("b"))
    run.create_or_reuse(config("b"), overwrite=True)
    assert run.read_config().metadata["images"] == "b"


def test_an_older_run_without_a_hash_of_its_images_is_accepted(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.create_or_reuse(StoredConfig("attack", {"dataset": "dir:x"}, {}))
    run.create_or_reuse(config())


def test_a_deletion_that_is_killed_leaves_a_run_directory(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path / "run")
    run.create_or_reuse(config())
    run.classifier_path.touch()
    (run.path / "checkpoints").mkdir()

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        run.create_or_reuse(config(epsilon=1), overwrite=True)
    monkeypatch.undo()
    assert run.exists()
    run.create_or_reuse(config(epsilon=1), overwrite=True)
    assert {path.name for path in run.path.iterdir()} == {".lock", "config.json"}


def test_a_directory_whose_creation_was_killed_is_used(tmp_path):
    run = RunDirectory(tmp_path)
    (tmp_path / "config.json.x1y2.partial").mkdir()
    run.create_or_reuse(config())
    assert run.exists()
    (tmp_path / "config.json").unlink()
    (tmp_path / "note").touch()
    with pytest.raises(UserError, match="is not a run directory"):
        run.create_or_reuse(config())


def test_overwrite_keeps_a_link_its_directory_and_the_lock(tmp_path):
    """`rmtree` can delete neither a mount point nor a link."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    run = RunDirectory(tmp_path / "run")
    run.create_or_reuse(config())
    run.classifier_path.touch()
    (run.path / "events").mkdir()
    lock = (run.path / ".lock").stat().st_ino
    for _ in range(2):
        run.create_or_reuse(config(epsilon=1), overwrite=True)
        assert run.read_config().settings["epsilon"] == 1
        assert {path.name for path in (tmp_path / "disk").iterdir()} == {".lock", "config.json"}
    # A new file would not be locked for a moment.
    assert (run.path / ".lock").stat().st_ino == lock


def test_a_run_that_cannot_be_deleted_raises_an_error_that_names_it(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path / "run")
    run.create_or_reuse(config())
    (run.path / "events").mkdir()

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(UserError, match=r"--run=.*run: cannot be written \(Permission denied\)"):
        run.create_or_reuse(config(), overwrite=True)


@pytest.fixture
def killed(tmp_path):
    """The run of a process that was killed while it wrote the classifier, and its temporary file."""
    run = RunDirectory(tmp_path / "run")
    run.create_or_reuse(config())
    release_directory(run.path)
    (run.path / "mine.partial").mkdir()
    partial = run.path / "classifier.keras.a_b1c2d3.partial"
    partial.mkdir()
    (partial / "classifier.keras").touch()
    return run, partial


def test_temporary_files_of_killed_processes_are_removed(killed):
    run, partial = killed
    run.create_or_reuse(config())
    assert {path.name for path in run.path.iterdir()} == {".lock", "config.json", "mine.partial"}
    partial.mkdir()  # Its writer may be this process, which has the lock.
    run.create_or_reuse(config())
    assert partial.exists()


def test_temporary_files_of_killed_attacks_are_removed(killed):
    run, _ = killed
    partial = run.path / "shards" / "00000100.npz.a_b1c2d3.partial"
    partial.mkdir(parents=True)
    (partial / "00000100.npz").touch()
    (run.path / "shards" / "00000000.npz").touch()
    run.create_or_reuse(config())
    assert [path.name for path in (run.path / "shards").iterdir()] == ["00000000.npz"]


@pytest.mark.parametrize("reason", [errno.EWOULDBLOCK, errno.ENOLCK])
def test_temporary_files_of_processes_that_may_be_alive_stay(killed, monkeypatch, reason):
    """Another process has the lock, or the file system has no locks."""
    run, partial = killed

    def fail(*_):
        raise OSError(reason, "no lock")

    monkeypatch.setattr(fcntl, "flock", fail)
    with contextlib.suppress(DirectoryLockedError):
        run.lock()
    assert (partial / "classifier.keras").exists()
