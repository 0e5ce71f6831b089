"""Directories that `open_model` rejects."""

import keras
import pytest

from tfdefense.errors import UserError
from tfdefense.serving import open_model


def test_directories_without_a_usable_model_are_rejected(tmp_path):
    with pytest.raises(UserError, match="no such directory"):
        open_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no exported model.*bin/export"):
        open_model(tmp_path)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.export(tmp_path / "1", verbose=False)
    with pytest.raises(UserError, match=r"not a model of bin/export: its serving_default takes"):
        open_model(tmp_path)
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "saved_model.pb").write_bytes(b"junk")
    with pytest.raises(UserError, match="2: cannot be loaded"):
        open_model(tmp_path)
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "model.tflite").write_bytes(b"junk")
    with pytest.raises(UserError, match="3: cannot be loaded"):
        open_model(tmp_path)
    (tmp_path / "4").mkdir()
    with pytest.raises(UserError, match=r"its latest version, 4, has no saved_model\.pb or"):
        open_model(tmp_path)
