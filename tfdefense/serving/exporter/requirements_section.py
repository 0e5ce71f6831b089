"""Section of a model card on the programs that can serve the model."""

from collections.abc import Sequence

import tensorflow as tf

from tfdefense.serving.exporter.operations import GraphRequirements, table_versions


def requirements_section(
    requirements: GraphRequirements | None, warmup_sizes: Sequence[int], *, certifies: bool
) -> list[str]:
    """Return the lines of the section.

    Args:
      requirements: of the graph; None for TFLite.
      warmup_sizes: numbers of images of the warm-up requests; empty if there are none.
      certifies: whether there is a signature `certify`.
    """
    lines = ["## Needed to serve it", "", f"- Made with TensorFlow {tf.__version__}."]
    if requirements is None:
        return [*lines, "- A TFLite runtime of this version or a newer one.", ""]
    return [
        *lines,
        f"- {_server_sentence(requirements)}",
        f"- {_batching_sentence(warmup_sizes, certifies=certifies)}",
        f"- Operations ({len(requirements.operations)}): {', '.join(requirements.operations)}.",
        "",
    ]


def _server_sentence(requirements: GraphRequirements) -> str:
    causes = ", ".join(requirements.reasons)
    if requirements.oldest is None:
        newest = ".".join(map(str, table_versions()[-1]))
        return (
            f"The oldest TF Serving is unknown: the list of operations up to {newest} lacks {causes}. Serve it with"
            f" {tf.__version__} or newer."
        )
    because = f"; older ones lack {causes}" if causes else ""
    return (
        f"TF Serving {requirements.oldest} or newer: this one has all operations and their arguments{because}. The"
        " model was not run on it; an old version may lack an operation for a data type."
    )


def _batching_sentence(sizes: Sequence[int], *, certifies: bool) -> str:
    if not sizes:
        return "There are no warm-up requests: the first requests take longer."
    listed = ", ".join(map(str, sizes))
    signatures = (
        "each signature but `certify`, which has one of 1 image" if certifies else "each signature"
    )
    return (
        f"Warm-up requests of {listed} images for {signatures}. With `--enable_batching`, give the server these"
        " numbers as `allowed_batch_sizes`; every output has the batch as its first dimension."
    )
