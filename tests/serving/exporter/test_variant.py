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
        ({"max_batch": 0}, "--max_batch=0: a number from 1 to 2,147,483,647 is needed"),
        ({"max_batch": 2**31}, "--max_batch=2147483648: a number from 1 to 2,147,483,647 is"),
        ({"batch_sizes": ()}, "--batch_sizes=: 0 numbers given; 1 to 200 are needed"),
        ({"batch_sizes": (0, 8)}, "--batch_sizes=0,8: numbers from 1 to 4,096 are needed"),
        ({"batch_sizes": (4097,)}, "--batch_sizes=4097: numbers from 1 to 4,096 are needed"),
        ({"batch_sizes": tuple(range(1, 202))}, "201 numbers given; 1 to 200 are needed"),
        ({"format": "tflite", "batch_sizes": (1,)}, "--batch_sizes=1: a TFLite model has no warm"),
        ({"format": "tflite", "max_batch": 8}, "--max_batch=8: a TFLite model does not check its"),
        ({"format": "tflite", "max_batch": 4096}, "--max_batch=4096: a TFLite model does not"),
    ],
)
def test_unusable_variants_are_rejected(arguments, message):
    with pytest.raises(UserError, match=message):
        Variant(**arguments)
