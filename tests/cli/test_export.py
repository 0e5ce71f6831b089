"""bin/export: versions of a run."""

import pytest

from tfdefense.cli.main import main


@pytest.mark.slow
def test_export_needs_only_the_run_and_counts_up(run, tmp_path, capsys):
    assert main(["export", f"--run={run}", f"--output={tmp_path}"]) == 0
    assert main(["export", f"--run={run}", f"--output={tmp_path}"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert "saved_model_cli show --dir" in capsys.readouterr().out
