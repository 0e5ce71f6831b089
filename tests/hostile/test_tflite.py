"""TFLite files that act, never end or are damaged."""

import contextlib
import random

import flatbuffers
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from tfdefense.errors import UserError
from tfdefense.serving.client.local_client import open_model
from tfdefense.serving.client.tflite_rules import require_safe_tflite


def _write(path, function):
    module = tf.Module()
    images = tf.TensorSpec([None, 4, 4, 1], tf.float32, name="images")
    module.run = tf.function(function, input_signature=[images], autograph=False)
    concrete = module.run.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    converter.allow_custom_ops = True
    path.write_bytes(converter.convert())


def _harmless(images):
    return tf.nn.softmax(tf.reshape(images, [-1, 16]))


def _reads_a_file(images):
    size = tf.strings.length(tf.io.read_file("/etc/hostname"))
    return _harmless(images) + tf.cast(size, tf.float32)


def test_operations_of_tensorflow_in_a_tflite_file_are_refused(tmp_path):
    path = tmp_path / "model.tflite"
    _write(path, _harmless)
    require_safe_tflite(path, "--model=x")
    _write(path, _reads_a_file)
    with pytest.raises(UserError, match=r"--model=x: contains .*ReadFile.*--unsafe_load"):
        require_safe_tflite(path, "--model=x")
    with pytest.raises(UserError, match=r"contains .*ReadFile"):
        open_model(tmp_path)


@pytest.mark.parametrize("field", ["externalBufferGroups", "externalBuffers"])
def test_a_file_that_names_other_files_is_refused(tmp_path, field):
    path = tmp_path / "model.tflite"
    _write(path, _harmless)
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    kinds = {
        "externalBufferGroups": schema.ExternalBufferGroupT,
        "externalBuffers": schema.ExternalBufferT,
    }
    setattr(model, field, [kinds[field]()])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    with pytest.raises(UserError, match=r"--model=x: model\.tflite reads tensors from other files"):
        require_safe_tflite(path, "--model=x")
    with pytest.raises(UserError, match="reads tensors from other files"):
        open_model(tmp_path)


def test_a_damaged_file_is_one_line(tmp_path):
    path, rng = tmp_path / "model.tflite", random.Random(0)
    _write(path, _harmless)
    whole = path.read_bytes()
    for content in (b"", b"TFL3" * 1000, whole[:30], b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"model\.tflite is damaged|contains operation"):
            require_safe_tflite(path, "--model=x")
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 40)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):  # Any other exception fails this test.
            require_safe_tflite(path, "--model=x")
