"""bin/export: versions of a run."""

import pytest

from tfdefense.cli.main import main


@pytest.mark.slow
def test_export_needs_only_the_run_and_counts_up(run, tmp_path, capsys):
    output = tmp_path / "my models"
    assert main(["export", f"--run={run}", f"--output={output}"]) == 0
    assert main(["export", f"--run={run}", f"--output={output}"]) == 0
    assert sorted(path.name for path in output.iterdir()) == ["1", "2"]
    printed = capsys.readouterr().out
    assert f"saved_model_cli show --dir '{output}/2' --all" in printed
    assert f"bin/purify '--model={output}' --input=FOLDER" in printed
