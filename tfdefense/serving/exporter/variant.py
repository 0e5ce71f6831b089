"""File format and numeric precision of an exported model."""

import dataclasses

from tfdefense.errors import require, unknown_name

_PRECISIONS = {
    "saved_model": ("float32", "float16", "bfloat16"),
    "tflite": ("float32", "float16", "int8"),
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """File format, weight precision and request limit of an exported model.

    Attributes:
      format: "saved_model" or "tflite".
      precision: type of the stored weights. "float32"; "float16" halves the size and computes in
        float32; "bfloat16" (SavedModel only) halves the size and computes in bfloat16; "int8"
        (TFLite only).
      max_batch: largest number of images in one request.

    Raises:
      UserError: an unknown name, or a number out of range.
    """

    format: str = "saved_model"
    precision: str = "float32"
    max_batch: int = 4096

    def __post_init__(self) -> None:
        if self.format not in _PRECISIONS:
            raise unknown_name("--format", self.format, _PRECISIONS)
        allowed = _PRECISIONS[self.format]
        require(
            self.precision in allowed,
            f"--precision={self.precision}: one of {', '.join(allowed)} is needed with --format={self.format}.",
        )
        require(self.max_batch >= 1, f"--max_batch={self.max_batch}: at least 1 is needed.")

    @property
    def is_plain(self) -> bool:
        """True if the model computes what the defence computes, up to float32 rounding."""
        return (self.format, self.precision) == ("saved_model", "float32")
