"""Judgement of a TFLite file before TensorFlow Lite reads it.

TensorFlow Lite in TensorFlow's Python package also runs operations of TensorFlow itself ("Flex"), which
can access files. A file is judged from the list of operations in its header.
"""

from pathlib import Path
from typing import Any

from tfdefense.errors import UserError, require

# Functions of tensors, by their names in TensorFlow Lite's schema. Loops need not end: a file is tried
# with a time limit. Custom operations, "Flex" ones among them, and operations that keep state are not
# here, and neither are those that a later version adds.
_OPERATIONS = frozenset(
    [
        "ABS",
        "ADD",
        "ADD_N",
        "ARG_MAX",
        "ARG_MIN",
        "ATAN2",
        "AVERAGE_POOL_2D",
        "BATCH_MATMUL",
        "BATCH_TO_SPACE_ND",
        "BITCAST",
        "BITWISE_XOR",
        "BROADCAST_ARGS",
        "BROADCAST_TO",
        "BUCKETIZE",
        "CAST",
        "CEIL",
        "COMPLEX_ABS",
        "CONCATENATION",
        "CONV_2D",
        "CONV_3D",
        "CONV_3D_TRANSPOSE",
        "COS",
        "CUMSUM",
        "DENSIFY",
        "DEPTHWISE_CONV_2D",
        "DEPTH_TO_SPACE",
        "DEQUANTIZE",
        "DIV",
        "DYNAMIC_UPDATE_SLICE",
        "ELU",
        "EQUAL",
        "EXP",
        "EXPAND_DIMS",
        "FAKE_QUANT",
        "FILL",
        "FLOOR",
        "FLOOR_DIV",
        "FLOOR_MOD",
        "FULLY_CONNECTED",
        "GATHER",
        "GATHER_ND",
        "GELU",
        "GREATER",
        "GREATER_EQUAL",
        "HARD_SWISH",
        "IF",
        "IMAG",
        "L2_NORMALIZATION",
        "L2_POOL_2D",
        "LEAKY_RELU",
        "LESS",
        "LESS_EQUAL",
        "LOCAL_RESPONSE_NORMALIZATION",
        "LOG",
        "LOGICAL_AND",
        "LOGICAL_NOT",
        "LOGICAL_OR",
        "LOGISTIC",
        "LOG_SOFTMAX",
        "LSTM",
        "MATRIX_DIAG",
        "MATRIX_SET_DIAG",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MEAN",
        "MINIMUM",
        "MIRROR_PAD",
        "MUL",
        "MULTINOMIAL",
        "NEG",
        "NOT_EQUAL",
        "ONE_HOT",
        "PACK",
        "PAD",
        "PADV2",
        "POW",
        "PRELU",
        "QUANTIZE",
        "RANDOM_STANDARD_NORMAL",
        "RANDOM_UNIFORM",
        "RANGE",
        "RANK",
        "REAL",
        "REDUCE_ALL",
        "REDUCE_ANY",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "REDUCE_PROD",
        "RELU",
        "RELU6",
        "RELU_0_TO_1",
        "RELU_N1_TO_1",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "REVERSE_SEQUENCE",
        "REVERSE_V2",
        "RFFT2D",
        "RIGHT_SHIFT",
        "RNN",
        "ROUND",
        "RSQRT",
        "SCATTER_ND",
        "SEGMENT_SUM",
        "SELECT",
        "SELECT_V2",
        "SHAPE",
        "SIGN",
        "SIN",
        "SLICE",
        "SOFTMAX",
        "SPACE_TO_BATCH_ND",
        "SPACE_TO_DEPTH",
        "SPARSE_TO_DENSE",
        "SPLIT",
        "SPLIT_V",
        "SQRT",
        "SQUARED_DIFFERENCE",
        "SQUARE",
        "SQUEEZE",
        "STRIDED_SLICE",
        "SUB",
        "SUM",
        "SVDF",
        "TANH",
        "TILE",
        "TOPK_V2",
        "TRANSPOSE",
        "TRANSPOSE_CONV",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "UNIQUE",
        "UNPACK",
        "UNSORTED_SEGMENT_MAX",
        "UNSORTED_SEGMENT_MIN",
        "UNSORTED_SEGMENT_PROD",
        "UNSORTED_SEGMENT_SUM",
        "WHERE",
        "WHILE",
        "ZEROS_LIKE",
    ]
)
_MAX_BYTES = 2**31  # The limit of flatbuffers.
_SHOWN = 8


def require_safe_tflite(path: Path, place: str) -> None:
    """Raise `UserError` if a TFLite file contains an operation that may not run, or names files.

    Args:
      path: the file.
      place: start of the error message.

    Raises:
      UserError: it contains another operation, reads tensors from other files, or is damaged or too
        large.
    """
    size = path.stat().st_size
    require(size < _MAX_BYTES, f"{place}: {path.name} has {size:,} bytes, 2 GiB or more.")
    try:
        model = _read_header(path.read_bytes())
        names, names_files = _operations(model), _names_files(model)
    except Exception as error:  # Each kind of damage raises another exception.
        raise UserError(f"{place}: cannot be loaded: {path.name} is damaged.") from error
    require(
        not names_files,
        f"{place}: {path.name} reads tensors from other files, which it names. A TFLite file must contain all"
        " its tensors. If you trust it: --unsafe_load.",
    )
    forbidden = sorted(names - _OPERATIONS)
    shown = ", ".join(forbidden[:_SHOWN]) + (" ..." if len(forbidden) > _SHOWN else "")
    require(
        not forbidden,
        f"{place}: contains {shown}. A TFLite file may contain only operations that compute tensors from"
        " tensors; these can access files, call code or keep state. If you trust it: --unsafe_load.",
    )


def _read_header(content: bytes) -> Any:
    """Return the schema's `Model` of a TFLite file."""
    from tensorflow.lite.python import schema_py_generated as schema

    return schema.Model.GetRootAs(content, 0)


def _names_files(model: Any) -> bool:
    """Return whether a TFLite model has tensors in external buffers, which are in other files.

    The schema of an older TensorFlow, and its TFLite, have no external buffers.
    """
    fields = ("ExternalBufferGroupsLength", "ExternalBuffersLength")
    return any(getattr(model, field)() > 0 for field in fields if hasattr(model, field))


def _operations(model: Any) -> set[str]:
    """Return the names of the operations in a TFLite model; custom ones with their own names."""
    from tensorflow.lite.python import schema_py_generated as schema

    known = {
        number: name
        for name, number in vars(schema.BuiltinOperator).items()
        if isinstance(number, int)
    }
    names = set()
    for index in range(model.OperatorCodesLength()):
        code: Any = model.OperatorCodes(index)
        # Old files have the number in a field of 8 bits.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = known.get(number, f"operation {number}")
        names.add((code.CustomCode() or b"CUSTOM").decode() if name == "CUSTOM" else name)
    return names
