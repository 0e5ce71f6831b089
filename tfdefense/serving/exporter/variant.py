"""The form in which a model is exported."""

import dataclasses

from tfdefense.errors import require, unknown_name

_PRECISIONS = {
    "saved_model": ("float32", "float16", "bfloat16"),
    "tflite": ("float32", "float16", "int8"),
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """In what form a model is exported.

    Attributes:
      format: "saved_model" or "tflite".
      precision: of the weights: "float32" or "float16", which is computed with as float32; for a SavedModel also
        "bfloat16", which is computed with as it is; for TFLite also "int8".
      max_batch: images that one request may bring.

    Raises:
      UserError: an unknown name, or a number out of range.
    """

    format: str = "saved_model"
    precision: str = "float32"
    max_batch: int = 4096

    def __post_init__(self) -> None:
        if self.format not in _PRECISIONS:
            raise unknown_name("--format", self.format, _PRECISIONS)
        known = _PRECISIONS[self.format]
        require(
            self.precision in known,
            f"--precision={self.precision}: one of {', '.join(known)} needed with --format={self.format}.",
        )
        require(self.max_batch >= 1, f"--max_batch={self.max_batch}: at least 1 needed.")

    @property
    def is_plain(self) -> bool:
        """Whether it computes what the defence itself computes, to the last bits."""
        return (self.format, self.precision) == ("saved_model", "float32")
