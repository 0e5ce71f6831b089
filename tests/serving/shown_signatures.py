"""Names, dtypes and shapes of signatures: those documented, and those that a program prints."""

import re

Interface = dict[str, tuple[str, str]]  # Name -> (dtype, shape), as `saved_model_cli` prints them.

_TENSOR = re.compile(r"(inputs|outputs)\['(\w+)'\] tensor_info:\s+dtype: (\w+)\s+shape: (.+)")


def documented_signatures(
    defense, num_classes: int, *, has_suspicion: bool = False
) -> dict[str, tuple[Interface, Interface]]:
    """Return the inputs and outputs of each signature, as docs/reference/formats says."""
    images = ("DT_FLOAT", str((-1, *defense.classifier.image_shape)))
    numbers, classes = ("DT_FLOAT", "(-1)"), ("DT_INT64", "(-1)")
    scores = ("DT_FLOAT", str((-1, num_classes)))
    of_classifier = {"logits": scores, "probabilities": scores, "classes": classes}
    pipeline = {"purified": images, "perturbation_norm": numbers, **of_classifier}
    if defense.detects:
        pipeline["refused"] = ("DT_BOOL", "(-1)")
    purified = {"purified": images}
    if has_suspicion:
        pipeline["suspicion"] = purified["suspicion"] = numbers
    found = {
        "serving_default": ({"images": images}, pipeline),
        "purify": ({"images": images}, purified),
        "classify": ({"images": images}, of_classifier),
        "serving_bytes": ({"image_bytes": ("DT_STRING", "(-1)")}, pipeline),
    }
    if defense.certifies:
        found["certify"] = ({"images": images}, {"classes": classes, "radii": numbers})
    return found


def parse_signature(shown: str) -> tuple[Interface, Interface]:
    """Return the inputs and outputs that `saved_model_cli show` prints for one signature."""
    inputs, outputs = {}, {}
    for side, name, dtype, shape in _TENSOR.findall(shown):
        (inputs if side == "inputs" else outputs)[name] = (dtype, shape.strip())
    return inputs, outputs


def parse_all_signatures(shown: str) -> dict[str, tuple[Interface, Interface]]:
    """Return the signatures that `saved_model_cli show --all` prints, without TensorFlow's own."""
    parts = re.split(r"signature_def\['(\w+)'\]:", shown.partition("Concrete Functions")[0])[1:]
    names, blocks = parts[::2], parts[1::2]
    return {
        name: parse_signature(block)
        for name, block in zip(names, blocks, strict=True)
        if not name.startswith("__")
    }
