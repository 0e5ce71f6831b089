"""Checks of what an exported model returns: it, or the server that runs it, may be of a stranger."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from tfdefense.data.core.class_labels import MAX_CLASSES
from tfdefense.data.core.file_listing import shorten_list
from tfdefense.errors import require

# Outputs that `bin/purify` needs; only these signatures have all of them.
NEEDED_OUTPUTS = ("purified", "classes", "probabilities", "perturbation_norm")
_NEEDED_BY_SIGNATURE = {
    "serving_default": NEEDED_OUTPUTS,
    "serving_bytes": NEEDED_OUTPUTS,
    "purify": ("purified",),
    "classify": ("classes", "probabilities"),
    "certify": ("classes", "radii"),
}
_WITH_SUSPICION = ("serving_default", "serving_bytes", "purify")
_PER_IMAGE = ("perturbation_norm", "suspicion", "classes", "refused", "radii")
_PER_CLASS = ("logits", "probabilities")
# Kinds of NumPy dtypes; all other outputs are floating point.
OUTPUT_KINDS = {"classes": "iu", "refused": "b"}
_KIND_NAMES = {"f": "floating point", "iu": "integers", "b": "bool"}
# 8-bit models leave [0, 1] by up to half a step of 1/255.
_TOLERANCE = 0.005
_LARGEST_RANGE = {"purified": 1.0, "probabilities": 1.0, "suspicion": 1.0}
# TF Serving writes a number of JSON on a line of its own, after 24 spaces, and each bracket too.
_JSON_BYTES, _BINARY_BYTES = 128, 8
_BYTES_OF_NAMES = 2**20
_MAX_OUTPUTS = 32


@dataclasses.dataclass(frozen=True)
class OutputRules:
    """Rules for the outputs of one exported model.

    Attributes:
      location: start of error messages.
      image_shape: (H, W, C).
      num_classes: K; None if the model does not declare it.
      has_suspicion: true if the model declares the output `suspicion`.
    """

    location: str
    image_shape: tuple[int, int, int]
    num_classes: int | None = None
    has_suspicion: bool = False

    def largest_answer(self, count: int, *, is_json: bool) -> int:
        """Return the number of bytes that the outputs for `count` images can have.

        Args:
          count: N.
          is_json: True for JSON; False for protocol buffers.
        """
        bytes_each = _JSON_BYTES if is_json else _BINARY_BYTES
        return _BYTES_OF_NAMES + bytes_each * self.largest_size(count)

    def largest_size(self, count: int) -> int:
        """Return how many numbers all outputs for `count` images together can have."""
        of_classes = len(_PER_CLASS) * (self.num_classes or MAX_CLASSES)
        return count * (math.prod(self.image_shape) + of_classes + _MAX_OUTPUTS)

    def sound_outputs(
        self, outputs: Mapping[str, np.ndarray], signature: str, count: int
    ) -> dict[str, np.ndarray]:
        """Return the outputs of a model that `bin/export` wrote, after checks.

        Args:
          outputs: arrays by name. Those that no signature of `bin/export` has are left out.
          signature: the signature that returned them.
          count: N, the number of images in the request.

        Raises:
          UserError: a missing output, a wrong shape or dtype, NaN or infinity, a value out of range,
            or a class that does not exist.
        """
        needed = _NEEDED_BY_SIGNATURE.get(signature, ())
        if self.has_suspicion and signature in _WITH_SUSPICION:
            needed = (*needed, "suspicion")
        missing = [name for name in needed if name not in outputs]
        require(
            not missing,
            f"{self.location}: its answer lacks {', '.join(missing)}; it has"
            f" {shorten_list(sorted(outputs)) or 'no output'}.",
        )
        num_classes = self._count_classes(outputs)
        shapes: dict[str, tuple[int, ...]] = {name: (count,) for name in _PER_IMAGE}
        shapes["purified"] = (count, *self.image_shape)
        shapes |= {name: (count, num_classes) for name in _PER_CLASS}
        for name, shape in shapes.items():
            if name in outputs:
                self._require_numbers(name, outputs[name], shape)
        if "classes" in outputs:
            lowest = -1 if signature == "certify" else 0
            self._require_classes(outputs["classes"], lowest, num_classes)
        return {name: array for name, array in outputs.items() if name in shapes}

    def _count_classes(self, outputs: Mapping[str, np.ndarray]) -> int:
        if self.num_classes is not None:
            return self.num_classes
        shapes = [outputs[name].shape for name in _PER_CLASS if name in outputs]
        return shapes[0][-1] if shapes and shapes[0] else MAX_CLASSES

    def _require_numbers(self, name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
        place = f"{self.location}: its output {name}"
        kind = OUTPUT_KINDS.get(name, "f")
        require(
            values.shape == shape and values.dtype.kind in kind and 0 not in shape,
            f"{place} is {values.dtype} of shape {values.shape}; {_KIND_NAMES[kind]} of shape {shape}"
            " needed.",
        )
        require(bool(np.all(np.isfinite(values))), f"{place} contains NaN or infinity.")
        if kind != "f" or name == "logits":
            return
        largest = _LARGEST_RANGE.get(name, float("inf"))
        low, high = float(values.min()), float(values.max())
        allowed = f"[0, {largest:g}]" if math.isfinite(largest) else "0 or more"
        require(
            low >= -_TOLERANCE and high <= largest + _TOLERANCE,
            f"{place} has values from {low:g} to {high:g}; {allowed} is needed.",
        )

    def _require_classes(self, classes: np.ndarray, lowest: int, num_classes: int) -> None:
        wrong = classes[(classes < lowest) | (classes >= num_classes)]
        require(
            not len(wrong),
            f"{self.location}: its output classes names class {', '.join(map(str, wrong[:1]))}; the"
            f" classes are {lowest} to {num_classes - 1}.",
        )
