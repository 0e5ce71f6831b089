"""Training in bfloat16: half the bytes to move, and up to twice the multiplications per second."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import keras

from tfdefense.errors import unknown_name
from tfdefense.training.nested_layers import collect_nested_layers

PRECISIONS = ("float32", "bfloat16")
AUTO = "auto"  # One of these, as `choose_precision` chooses.


def require_precision(given: str) -> None:
    """Raise `UserError` for a value that `--mixed_precision` does not take."""
    if given not in (AUTO, *PRECISIONS):
        raise unknown_name("--mixed_precision", given, (AUTO, *PRECISIONS))


@contextlib.contextmanager
def compute_in(networks: Iterable[keras.Layer], precision: str) -> Iterator[None]:
    """Make the layers of `networks` compute in `precision` inside this context.

    Weights, outputs of networks, losses, the gradient penalty and the state of the optimizer stay
    float32. After the context each layer has the policy that it had before: validation, evaluation
    and export compute in it, usually float32.

    Args:
      networks: networks with all their layers.
      precision: one of `PRECISIONS`.
    """
    layers = collect_nested_layers(networks) if precision != "float32" else []
    with use_dtype_policy(layers, "mixed_bfloat16"):
        yield


@contextlib.contextmanager
def use_dtype_policy(layers: Sequence[keras.Layer], name: str) -> Iterator[None]:
    """Give all these layers the dtype policy of a name, such as "float32", inside this context."""
    policies = [layer.dtype_policy for layer in layers]
    for layer in layers:
        layer.dtype_policy = keras.dtype_policies.get(name)
    try:
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy
