"""File format and numeric precision of an exported model."""

import dataclasses

from tfdefense.errors import require, unknown_name

# TF Serving reads this many warm-up requests, and a model has up to five signatures.
_MAX_BATCH_SIZES = 1_000 // 5
_DEFAULT_MAX_BATCH = 4096
_LARGEST_BATCH = 2**31 - 1  # The graph counts images in int32.
_PRECISIONS = {
    "saved_model": ("float32", "float16", "bfloat16"),
    "tflite": ("float32", "float16", "int8"),
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """File format, weight precision and batch sizes of an exported model.

    Attributes:
      format: "saved_model" or "tflite".
      precision: type of the stored weights. "float32"; "float16" halves the size and computes in
        float32; "bfloat16" (SavedModel only) halves the size and computes in bfloat16; "int8"
        (TFLite only).
      max_batch: largest number of images in one request. SavedModel only. None means 4,096.
      batch_sizes: numbers of images of the warm-up requests: all `allowed_batch_sizes` of a TF
        Serving that joins requests. SavedModel only. None means 1, 8 and 32, as far as one request
        may have so many images.

    Raises:
      UserError: an unknown name, or a number out of range.
    """

    format: str = "saved_model"
    precision: str = "float32"
    max_batch: int | None = None
    batch_sizes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.format not in _PRECISIONS:
            raise unknown_name("--format", self.format, _PRECISIONS)
        allowed = _PRECISIONS[self.format]
        require(
            self.precision in allowed,
            f"--precision={self.precision}: one of {', '.join(allowed)} is needed with --format={self.format}.",
        )
        if self.max_batch is not None:
            self._check_max_batch(self.max_batch)
        if self.batch_sizes is not None:
            self._check_batch_sizes(self.batch_sizes)

    def _check_max_batch(self, limit: int) -> None:
        require(
            self.format == "saved_model",
            f"--max_batch={limit}: a TFLite model does not check its requests. Leave --max_batch out.",
        )
        require(
            1 <= limit <= _LARGEST_BATCH,
            f"--max_batch={limit}: a number from 1 to {_LARGEST_BATCH:,} is needed.",
        )

    def _check_batch_sizes(self, sizes: tuple[int, ...]) -> None:
        given = f"--batch_sizes={','.join(map(str, sizes))}"
        require(
            self.format == "saved_model",
            f"{given}: a TFLite model has no warm-up requests. Leave --batch_sizes out.",
        )
        require(
            1 <= len(sizes) <= _MAX_BATCH_SIZES,
            f"{given[:60]}: {len(sizes)} numbers given; 1 to {_MAX_BATCH_SIZES} are needed, because TF Serving reads"
            " 1,000 warm-up requests.",
        )
        require(
            all(1 <= size <= self.request_limit for size in sizes),
            f"{given[:60]}: numbers from 1 to {self.request_limit:,} are needed (--max_batch sets the limit).",
        )

    @property
    def request_limit(self) -> int:
        """Largest number of images in one request: `max_batch` or its default."""
        return _DEFAULT_MAX_BATCH if self.max_batch is None else self.max_batch

    @property
    def is_plain(self) -> bool:
        """True if the model computes what the defence computes, up to float32 rounding."""
        return (self.format, self.precision) == ("saved_model", "float32")
