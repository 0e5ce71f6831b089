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

    Networks with a layer that `needs_float32`, quantised layers, and layers with a `DTypePolicyMap`
    compute as they do outside of this context.

    Args:
      networks: networks with all their layers.
      precision: one of `PRECISIONS`.
    """
    layers = _collect_roundable_layers(networks) if precision != "float32" else []
    with use_dtype_policy(layers, "mixed_bfloat16"):
        yield


def _collect_roundable_layers(networks: Iterable[keras.Layer]) -> list[keras.Layer]:
    """Return the layers of networks, at any depth, that may compute in bfloat16."""
    found = []
    for network in networks:
        layers = collect_nested_layers([network])
        # What such a layer gets is rounded as well, so all layers before it compute in float32.
        if not any(getattr(layer, "needs_float32", False) for layer in layers):
            found += [layer for layer in layers if _has_plain_policy(layer)]
    return found


def _has_plain_policy(layer: keras.Layer) -> bool:
    """Return whether the policy of a layer says only what it computes in.

    That of a quantised layer also says that its kernel has scales. A map of policies is one object of
    many layers, which Keras changes in place.
    """
    is_map = isinstance(layer.dtype_policy, keras.dtype_policies.DTypePolicyMap)
    return layer.quantization_mode is None and not is_map


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
