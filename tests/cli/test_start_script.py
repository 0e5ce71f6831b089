"""bin/start, which all commands in bin/ call."""

import subprocess

import pytest

from tests.docs.markdown import ROOT


@pytest.mark.skipif(not (ROOT / ".venv" / ".installed").is_file(), reason="there is no .venv")
def test_modules_of_the_current_folder_are_not_imported(tmp_path):
    """A folder of images may hold `json.py`."""
    for name in ("json", "numpy", "tfdefense"):
        (tmp_path / f"{name}.py").write_text('open("ran", "w")')
    command = [ROOT / "bin" / "train", "--list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "apeganpp" in done.stdout
    assert not (tmp_path / "ran").exists()
