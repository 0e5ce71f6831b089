"""The configuration in the TF Serving guide parses as TF Serving's own message."""

import re
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "tf-serving.md").read_text()


def test_models_config_parses_as_tf_servings_own_message():
    block = re.search(r"```proto\n(model_config_list .*?)```", TEXT, re.DOTALL)[1]
    config = text_format.Parse(block, model_server_config_pb2.ModelServerConfig())
    assert [each.name for each in config.model_config_list.config] == ["apeganpp", "magnet"]
