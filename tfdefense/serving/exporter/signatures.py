"""Serving signatures of a defence: functions from named tensors to named tensors."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Protocol, cast

import tensorflow as tf

from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core import randomized_smoothing
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.suspicion import (
    SuspicionScale,
    calibrate_suspicion,
    suspicion_values,
)
from tfdefense.serving.core.input_checks import check_images, decode_images

# A served request must return quickly, so it takes fewer votes than bin/certify. Its radii are
# smaller, but hold with the same probability.
CERTIFY_VOTES = 1_000
CERTIFY_ALPHA = 0.001
_OF_PURIFYING = ("purified", "suspicion")  # Outputs of the signature `purify`.


class CertifyingDefense(Protocol):
    """Defence with certified radii (`certifies` is True)."""

    def certify(
        self, images: tf.Tensor, radii: tf.Tensor, count: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return classes int32 [N], -1 where the defence abstains, and L2 radii float32 [N]."""
        ...


class Signatures:
    """Signatures of the pipeline of a defence, with checked inputs.

    Args:
      defense: the defence, with its classifier.
      max_batch: largest number of images in one request. It bounds the memory that one request can
        take.

    Attributes:
      suspicion: scale of the output `suspicion`; None if there is no such output.
    """

    def __init__(self, defense: Defense, max_batch: int) -> None:
        self.defense = defense
        self.classifier = defense.defend().classifier
        self.image_shape = self.classifier.image_shape
        self.max_batch = max_batch
        self.suspicion: SuspicionScale | None = None
        if defense.certifies:
            self._radii = randomized_smoothing.certified_radii(
                CERTIFY_VOTES, CERTIFY_ALPHA, defense.config.sigma
            )

    def calibrate(self, clean: Split) -> None:
        """Add the output `suspicion`, unless purifying changes nothing: see `calibrate_suspicion`.

        Args:
          clean: held-out images of the classifier's shape.
        """
        self.suspicion = calibrate_suspicion(self.defense.defend(), clean)

    def functions(
        self,
        trace_context: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
    ) -> dict[str, tf.types.experimental.GenericFunction]:
        """Return one `tf.function` per signature, by its name in the SavedModel.

        `serving_default`, `purify` and `classify` take `images`, float32 [N, H, W, C] in [0, 1].
        `serving_bytes` takes `image_bytes`, string [N], PNG or JPEG files. A defence that certifies
        also has `certify`, from `images` to `classes` int64 [N], -1 where the defence abstains, and
        `radii` float32 [N], the L2 radius within which the class does not change.

        Every output has N as its first dimension, so a server can join requests and split outputs.
        The pipeline and the classifier are traced once each, and all signatures call these traces.
        A runtime computes only the outputs that a signature returns, so `purify` classifies only if
        `suspicion` or a detector needs it.

        Args:
          trace_context: returns a context manager that is active while networks are traced.
        """
        valid = tf.TensorSpec([None, *self.image_shape], tf.float32, name="images")
        # All dimensions are open, so that images of a wrong size reach the check.
        images = tf.TensorSpec([None, None, None, None], tf.float32, name="images")
        encoded = tf.TensorSpec([None], tf.string, name="image_bytes")

        def trace_once(run: Callable[[tf.Tensor], Any]) -> Callable[[tf.Tensor], Any]:
            def run_in_context(values: tf.Tensor) -> Any:
                with trace_context():
                    return run(values)

            return _make_function(run_in_context, valid)

        decode = _decoder(self.image_shape, self.max_batch)
        classifier = trace_once(self.classifier)
        pipeline = trace_once(lambda images: self.run_pipeline(images, classifier))

        def purify(images: tf.Tensor) -> dict[str, tf.Tensor]:
            outputs = pipeline(self._check(images))
            return {name: outputs[name] for name in _OF_PURIFYING if name in outputs}

        functions = {
            "serving_default": _make_function(lambda images: pipeline(self._check(images)), images),
            "purify": _make_function(purify, images),
            "classify": _make_function(
                lambda images: _class_outputs(classifier(self._check(images))), images
            ),
            "serving_bytes": _make_function(
                lambda image_bytes: pipeline(decode(image_bytes)), encoded
            ),
        }
        if self.defense.certifies:
            certify = trace_once(self._certify)
            functions["certify"] = _make_function(
                lambda images: certify(self._check(images)), images
            )
        return functions

    def run_pipeline(
        self, images: tf.Tensor, classifier: Callable[[tf.Tensor], tf.Tensor] | None = None
    ) -> dict[str, tf.Tensor]:
        """Purify and classify images without checking them.

        Args:
          images: float32 [N, H, W, C] in [0, 1].
          classifier: images -> logits [N, K]; None means the classifier of the defence.

        Returns:
          `purified` float32 [N, H, W, C] in [0, 1]; `perturbation_norm` float32 [N], the L2 norm of
          the change made by purifying; `logits` and `probabilities` float32 [N, K]; `classes` int64
          [N]; for a defence that detects, also `refused`, bool [N]; if it is calibrated,
          `suspicion` float32 [N] in [0, 1], see `SuspicionScale`.
        """
        classifier = classifier or self.classifier
        purified, logits = self.defense.purify_and_classify(classifier, images)
        # Some purifiers return tensors of unknown static size, although the size never changes.
        purified = tf.reshape(purified, [-1, *self.image_shape])
        values = suspicion_values(self.defense, classifier, images, purified, logits)
        outputs = {
            "purified": purified,
            "perturbation_norm": values["change"],
            **_class_outputs(logits),
        }
        if self.defense.detects:
            outputs["refused"] = values["score"] > 0
        if self.suspicion is not None:
            outputs["suspicion"] = self.suspicion(values)
        return outputs

    def _certify(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        radii = tf.constant(self._radii)
        defense = cast(CertifyingDefense, self.defense)
        classes, found = defense.certify(images, radii, CERTIFY_VOTES)
        return {"classes": tf.cast(classes, tf.int64), "radii": found}

    def _check(self, images: tf.Tensor) -> tf.Tensor:
        return check_images(images, self.image_shape, self.max_batch)


@functools.lru_cache(maxsize=16)
def _decoder(image_shape: tuple[int, ...], max_batch: int) -> tf.types.experimental.GenericFunction:
    """Return `decode_images`, traced once in a process: its trace takes as long as a defence's."""
    return _make_function(
        lambda image_bytes: decode_images(image_bytes, image_shape, max_batch),
        tf.TensorSpec([None], tf.string, name="image_bytes"),
    )


def _make_function(
    run: Callable[[tf.Tensor], Any], input_spec: tf.TensorSpec
) -> tf.types.experimental.GenericFunction:
    return tf.function(run, input_signature=[input_spec], autograph=False)


def _class_outputs(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "logits": logits,
        "probabilities": tf.nn.softmax(logits),
        "classes": tf.argmax(logits, axis=-1),
    }
