from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig


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
