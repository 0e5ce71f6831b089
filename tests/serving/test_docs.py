"""The configuration in the TF Serving guide is one that TF Serving reads."""

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tests.serving.guide import guide_batching, guide_block


def test_models_config_parses_as_tf_servings_own_message():
    block = guide_block("model_config_list")
    config = text_format.Parse(block, model_server_config_pb2.ModelServerConfig())
    assert [each.name for each in config.model_config_list.config] == ["apeganpp", "magnet"]


def test_the_last_allowed_batch_size_is_the_largest_one():
    """TF Serving refuses other parameters."""
    parameters = guide_batching()
    assert parameters.allowed_batch_sizes[-1] == parameters.max_batch_size
    assert list(parameters.allowed_batch_sizes) == sorted(parameters.allowed_batch_sizes)
