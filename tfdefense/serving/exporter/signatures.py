"""What a served model can be asked: its signatures, as functions of tensors."""

import contextlib
from collections.abc import Callable

import tensorflow as tf

from tfdefense.defenses.core import randomized_smoothing
from tfdefense.defenses.core.defense import Defense
from tfdefense.serving.core.input_checks import checked_images, decoded_images

# A request is answered while somebody waits: fewer votes than bin/certify takes, so smaller radii, as surely right.
CERTIFY_VOTES = 1_000
CERTIFY_ALPHA = 0.001


class Signatures:
    """The pipeline of a defence, its inputs checked.

    Args:
      defense: with its classifier.
      max_batch: images that one request may bring; more would take the memory of other requests.
    """

    def __init__(self, defense: Defense, max_batch: int) -> None:
        self.defense = defense
        self.classifier = defense.defend().classifier
        self.image_shape = self.classifier.image_shape
        self.max_batch = max_batch
        if defense.certifies:
            self._radii = randomized_smoothing.radii_of(
                CERTIFY_VOTES, CERTIFY_ALPHA, defense.config.sigma
            )

    def functions(
        self, within: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    ) -> dict[str, tf.types.experimental.GenericFunction]:
        """Each by its name in the SavedModel.

        `serving_default`, `purify`, `classify` take `images`, float32 [N, H, W, C] in [0, 1]; `serving_bytes` takes
        `image_bytes`, string [N]: PNG or JPEG files. A defence that certifies also has `certify`: `images` -> `classes` int64
        [N], -1 where none is sure, and `radii` float32 [N], within which in L2 no change turns them.

        Args:
          within: a context that each is traced in.
        """

        def served(
            function: Callable[[tf.Tensor], dict[str, tf.Tensor]], taken: tf.TensorSpec
        ) -> tf.types.experimental.GenericFunction:
            def traced(given: tf.Tensor) -> dict[str, tf.Tensor]:
                with within():
                    return function(given)

            return tf.function(traced, input_signature=[taken], autograph=False)

        # Sizes are left open, so that a wrong one comes as far as the check that says what is wrong with it.
        images = tf.TensorSpec([None, None, None, None], tf.float32, name="images")
        encoded = tf.TensorSpec([None], tf.string, name="image_bytes")
        certify = {"certify": served(self._certify, images)} if self.defense.certifies else {}
        return {
            "serving_default": served(self._default, images),
            "purify": served(self._purify, images),
            "classify": served(self._classify, images),
            "serving_bytes": served(self._bytes, encoded),
            **certify,
        }

    def answers(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """All that the pipeline has to say of images float32 [N, H, W, C] in [0, 1], unchecked.

        Returns:
          `purified` float32 [N, H, W, C] in [0, 1]; `perturbation_norm` float32 [N], the L2 norm of what purifying
          changed; `logits` and `probabilities` float32 [N, K]; `classes` int64 [N]; of a defence that detects
          also `refused`, bool [N].
        """
        purified, logits = self.defense.decide(self.classifier, images)
        purified = self._shaped(purified)
        change = tf.reshape(purified - images, [tf.shape(images)[0], -1])
        answers = {
            "purified": purified,
            "perturbation_norm": tf.norm(change, axis=1),
            **_answered(logits),
        }
        if self.defense.detects:
            answers["refused"] = self.defense.excess(images) > 0
        return answers

    def _default(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.answers(self._checked(images))

    def _purify(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"purified": self._shaped(self.defense.purify(self._checked(images)))}

    def _classify(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return _answered(self.classifier(self._checked(images)))

    def _certify(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        radii = tf.constant(self._radii)
        classes, found = self.defense.certify(self._checked(images), radii, CERTIFY_VOTES)
        return {"classes": tf.cast(classes, tf.int64), "radii": found}

    def _bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.answers(decoded_images(image_bytes, self.image_shape, self.max_batch))

    def _shaped(self, purified: tf.Tensor) -> tf.Tensor:
        # Some purifiers leave open what size they give, though it is the one that they got.
        return tf.reshape(purified, [-1, *self.image_shape])

    def _checked(self, images: tf.Tensor) -> tf.Tensor:
        return checked_images(images, self.image_shape, self.max_batch)


def _answered(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "logits": logits,
        "probabilities": tf.nn.softmax(logits),
        "classes": tf.argmax(logits, axis=-1),
    }
