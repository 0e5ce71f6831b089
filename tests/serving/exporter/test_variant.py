"""Variants that cannot be exported."""

import pytest

from tfdefense.errors import UserError
from tfdefense.serving import Variant


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "tflight"}, "unknown --format 'tflight'. Did you mean 'tflite'"),
        ({"precision": "int8"}, "--precision=int8: one of float32, float16, bfloat16 is needed"),
        ({"format": "tflite", "precision": "bfloat16"}, "one of float32, float16, int8 is needed"),
        ({"max_batch": 0}, "--max_batch=0: at least 1 is needed"),
    ],
)
def test_unusable_variants_are_rejected(arguments, message):
    with pytest.raises(UserError, match=message):
        Variant(**arguments)
