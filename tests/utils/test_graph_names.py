import pytest
import tensorflow as tf

from tfdefense.utils.graph_names import graph_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cnn-v1.2", "cnn-v1.2"),
        ("modèle", "mod_le"),
        ("_private", "private"),
        ("-犬 x", "x"),
        ("モデル", "model"),
        ("", "model"),
    ],
)
def test_tensorflow_accepts_the_names(text, name):
    assert graph_name(text) == name
    with tf.Graph().as_default(), tf.name_scope(name):
        pass
