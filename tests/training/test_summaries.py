"""Settings and names of directories that are not UTF-8, such as paths of another encoding."""

import pytest

from tfdefense.errors import UserError
from tfdefense.training.checkpoints import Checkpoints
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.training.summaries import SummaryWriter


def test_settings_that_are_not_utf_8_are_written(tmp_path):
    settings = {"dataset": "dir:/data/Pr\udcfcfung", "epochs": 3, "pairs": ("a\udcfc",), "x": None}
    with SummaryWriter(tmp_path) as summaries:
        summaries.write_settings(settings)
    (file,) = (tmp_path / "events").iterdir()
    assert rb"dir:/data/Pr\udcfcfung" in file.read_bytes()


def test_a_run_directory_that_tensorflow_cannot_open_is_an_error_of_one_line(tmp_path):
    path = tmp_path / "Pr\udcfcfung"
    message = "not UTF-8, and TensorFlow opens no other names"
    config = StoredConfig("classifier", {})
    with pytest.raises(UserError, match=rf"^--run=.*Pr\udcfcfung: {message}"):
        RunDirectory(path).create_or_reuse(config)
    for open_directory in (lambda: SummaryWriter(path), lambda: Checkpoints({}, path)):
        with pytest.raises(UserError, match=message):
            open_directory()
    assert not path.exists()
