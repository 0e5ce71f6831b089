"""Blocks of the TF Serving guide."""

import re
from pathlib import Path

from tests.serving.batching import BatchingParameters

TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "tf-serving.md").read_text(encoding="utf-8")


def guide_block(start: str) -> str:
    """Return the `proto` block of the guide whose first word is `start`."""
    return re.search(rf"```proto\n({start} .*?)```", TEXT, re.DOTALL)[1]


def guide_batching() -> BatchingParameters:
    """Return the batching parameters that the guide shows."""
    return BatchingParameters.from_text(guide_block("max_batch_size"))
