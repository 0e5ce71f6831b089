"""Verification of stored adversarial images against the clean images and the model.

A file that was damaged, or replaced by one of another attack or by clean images, must not become a
result. `Shard.load` checks everything that needs neither clean images nor the model.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfdefense.attacks.core import norms
from tfdefense.attacks.core.compile_cache import compile_logits
from tfdefense.attacks.core.model import Model
from tfdefense.attacks.core.shards import Shard
from tfdefense.data.core.dataset import Split

# A norm may differ by 1e-5 plus 0.01 %: sums of float32 depend on the order.
_ABSOLUTE, _RELATIVE = 1e-5, 1e-4
# A prediction may differ where two logits differ by less than this share of the largest one.
_LOGIT_TOLERANCE = 1e-3
_NORMS = {"l1": norms.l1, "l2": norms.l2, "linf": norms.linf}


class ShardVerifier:
    """Verifies shards of one attack on one model; it costs a forward pass.

    Args:
      model: the attacked model.
      radius: radius of the attack; None for an attack without a radius.
      norm: norm of the radius.
      image_shape: (H, W, C).
    """

    def __init__(
        self, model: Model, radius: float | None, norm: str, image_shape: tuple[int, int, int]
    ) -> None:
        self._logits = compile_logits(model, image_shape)
        self._radius = radius
        self._norm = norm

    def verify(self, shard: Shard, part: Split) -> None:
        """Check a shard of the images of `part`.

        Raises:
          ValueError: a check failed; the message is a short reason.
        """
        verify_perturbations(shard, np.asarray(part.images), self._radius, self._norm)
        wrong = self._contradicting(shard, part)
        # A randomised model may well contradict itself, so it is asked twice.
        if wrong.any() and not self._is_randomized(shard.adversarial):
            raise ValueError(
                f"success of {int(wrong.sum())} of {len(shard)} images differs from the model's"
                " predictions"
            )

    def _contradicting(self, shard: Shard, part: Split) -> np.ndarray:
        """Return bool [n]: images whose recorded success clearly differs from the prediction."""
        logits = np.asarray(self._logits(shard.adversarial))
        rows = np.arange(len(shard))
        is_targeted = shard.targets >= 0
        decisive = np.where(is_targeted, shard.targets, part.labels)
        others = logits.copy()
        others[rows, decisive] = -np.inf
        lead = logits[rows, decisive] - others.max(axis=-1)
        is_fooled = (lead > 0) == is_targeted
        scale = np.maximum(1.0, np.abs(logits).max(axis=-1))
        return (is_fooled != shard.success) & (np.abs(lead) > _LOGIT_TOLERANCE * scale)

    def _is_randomized(self, images: np.ndarray) -> bool:
        first, second = (np.asarray(self._logits(images)) for _ in range(2))
        return not np.allclose(first, second, rtol=_LOGIT_TOLERANCE, atol=_LOGIT_TOLERANCE)


def verify_perturbations(stored: Any, clean: np.ndarray, radius: float | None, norm: str) -> None:
    """Check that stored norms are those of the perturbations, and that these are in the ball.

    Args:
      stored: has `adversarial` float32 [n, H, W, C], `l0` int32 [n], `l2` and `linf` float32 [n].
      clean: clean images float32 [n, H, W, C].
      radius: radius of the ball, None for an attack without a radius.
      norm: norm of the radius.

    Raises:
      ValueError: a check failed; the message is a short reason.
    """
    adversarial = np.asarray(stored.adversarial)
    if adversarial.shape != clean.shape:
        raise ValueError(
            f"adversarial has shape {list(adversarial.shape)}, {list(clean.shape)} needed"
        )
    change = tf.constant(adversarial) - tf.constant(clean)
    if not np.array_equal(stored.l0, norms.l0(change)):
        raise ValueError("l0 differs from that of the images")
    for name in ("l2", "linf"):
        if not np.allclose(getattr(stored, name), _NORMS[name](change), _RELATIVE, _ABSOLUTE):
            raise ValueError(f"{name} differs from that of the images")
    if radius is not None and norm in _NORMS:
        largest = float(tf.reduce_max(_NORMS[norm](change)))
        if largest > radius * (1 + _RELATIVE) + _ABSOLUTE:
            raise ValueError(f"{norm} of {largest:.4g}, at most {radius:.4g} allowed")
