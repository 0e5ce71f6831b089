"""SavedModel in a TensorFlow session, which is how TF Serving runs it."""

from pathlib import Path

import numpy as np
import tensorflow as tf


class SessionModel:
    """SavedModel in a TensorFlow 1 session, with the checks that TF Serving makes itself."""

    def __init__(self, path: Path) -> None:
        self.version = int(path.name)
        # With a configuration of its own, graphs are optimized as in TF Serving.
        config = tf.compat.v1.ConfigProto()
        self.session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        with self.session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        self.signatures = dict(loaded.signature_def)

    def predict(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if signature not in self.signatures:
            raise ValueError(f'Serving signature name: "{signature}" not found in signature def')
        definition = self.signatures[signature]
        if set(inputs) != set(definition.inputs):
            raise ValueError(
                f"input size does not match signature: {len(inputs)}!={len(definition.inputs)}"
            )
        feeds = {}
        for name, values in inputs.items():
            expected = tf.as_dtype(definition.inputs[name].dtype)
            found = tf.as_dtype(values.dtype)
            if expected != found:
                raise ValueError(
                    f"Expects arg[0] to be {expected.name} but {found.name} is provided"
                )
            feeds[definition.inputs[name].name] = values
        fetches = {name: output.name for name, output in definition.outputs.items()}
        try:
            return self.session.run(fetches, feeds)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(error.message) from error

    def close(self) -> None:
        self.session.close()
