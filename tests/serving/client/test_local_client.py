"""Directories that `open_model` rejects."""

import types

import keras
import pytest
import tensorflow as tf

from tests.conftest import SHAPE
from tfdefense.errors import UserError
from tfdefense.serving import open_model
from tfdefense.serving.client import local_client


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
    (tmp_path / "3").rename(tmp_path / "\udcfc")
    with pytest.raises(UserError, match="not UTF-8, and TensorFlow opens no other names"):
        open_model(tmp_path / "\udcfc")
    (tmp_path / "4").mkdir()
    with pytest.raises(UserError, match=r"its latest version, 4, has no saved_model\.pb or"):
        open_model(tmp_path)


@pytest.mark.slow
def test_each_signature_that_is_run_is_tried(exported, monkeypatch):
    """A loop without an end may be in the signature that decodes image files alone."""
    answered = {}

    class Recording:
        def __init__(self, name, function):
            self.name, self.function = name, function
            self.structured_input_signature = function.structured_input_signature
            self.structured_outputs = function.structured_outputs

        def __call__(self, **inputs):
            answered[self.name] = self.function(**inputs)

    def load(path):
        loaded.append(original(path))
        signatures = loaded[0].signatures
        functions = {name: Recording(name, signatures[name]) for name in signatures}
        return types.SimpleNamespace(signatures=functions)

    loaded, original = [], tf.saved_model.load
    monkeypatch.setattr(tf.saved_model, "load", load)
    local_client._run_saved_model(exported)
    assert answered.keys() == {"serving_default", "serving_bytes"}
    assert {outputs["purified"].shape for outputs in answered.values()} == {(1, *SHAPE)}
