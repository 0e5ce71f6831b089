"""SavedModels and `.keras` files that attack who loads them; made by the tests that load them."""

import itertools
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfdefense.classifiers.custom.saved_model_layer import FrozenGraph

SHAPE = (28, 28, 1)
_numbers = itertools.count()


def graph_of(act) -> tuple[bytes, str, str]:
    """Return a GraphDef from images to logits that acts when it runs, with its input and output."""
    graph = tf.Graph()
    with graph.as_default():
        images = tf.compat.v1.placeholder(tf.float32, [None, *SHAPE])
        logits = tf.reshape(images, [-1, 784])[:, :10]
        with tf.control_dependencies([act()]):
            logits = tf.identity(logits)
    return graph.as_graph_def().SerializeToString(), images.name, logits.name


def save_keras_file(path: Path, act) -> None:
    """Save a `.keras` file with a graph layer that acts when it runs."""
    graph, feed, fetch = graph_of(act)
    layer = FrozenGraph(feed, fetch, 10, graph)
    images = keras.Input(SHAPE)
    keras.Model(images, layer(images)).save(path)


def save_harmless_keras_file(path: Path) -> None:
    """Save a `.keras` file of a small classifier."""
    keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(10)]).save(
        path
    )


class Classifier(tf.Module):
    """A harmless classifier, to which resources are added."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(np.eye(784, 10, dtype=np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def serve(self, images):
        return tf.reshape(images, [-1, 784]) @ self.weights


class ActingResource(tf.saved_model.experimental.TrackableResource):
    """A resource that acts when it is initialized, which loading does."""

    def __init__(self, act) -> None:
        super().__init__()
        self.act = act
        self.name = f"acting{next(_numbers)}"
        self._resource_handle = self._create_resource()

    def _create_resource(self):
        return tf.raw_ops.MutableHashTableV2(
            key_dtype=tf.string, value_dtype=tf.int64, shared_name=self.name
        )

    def _initialize(self):
        if tf.executing_eagerly():
            return tf.constant(1)
        self.act()  # Traced while the model is saved.
        return tf.constant(1)


def save_with_initializer(path: Path, act) -> None:
    """Save a SavedModel that acts when it is loaded."""
    module = Classifier()
    module.resource = ActingResource(act)
    tf.saved_model.save(module, str(path), signatures=module.serve)


def edit_saved_model(path: Path, edit) -> None:
    """Change `saved_model.pb`: `edit` gets its first MetaGraphDef."""
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    edit(saved.meta_graphs[0])
    file.write_bytes(saved.SerializeToString())


def edit_keras_config(path: Path, edit) -> None:
    """Change `config.json` in a `.keras` file: `edit` gets and returns its text."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["config.json"] = edit(files["config.json"].decode()).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def rename_in_config(path: Path, old: str, new: str) -> None:
    """Replace a text in `config.json` of a `.keras` file."""
    edit_keras_config(path, lambda text: json.dumps(json.loads(text)).replace(old, new))
