"""Section of a model card on runtimes other than TF Serving."""

from collections.abc import Mapping

from tfdefense.serving.exporter.other_runtimes import (
    RuntimeSupport,
    runtime_support,
    tried_runtimes,
)
from tfdefense.utils.tables import markdown_table

_LEGEND = (
    "- agrees: exports made of the same operations returned TensorFlow's outputs to 1e-4, and the same classes, for 1, 3 and"
    " 8 images. This export itself was not run there; docs/guides/other-runtimes.md says how to compare it.",
    "- lacks: these operations cannot be converted, so the signature cannot be used there.",
    "- not tried: no tried signature that agreed has these operations.",
    "- These runtimes do not check the inputs: wrong images get an answer.",
)


def runtimes_section(operations: Mapping[str, frozenset[str]], precision: str) -> list[str]:
    """Return the lines of the section.

    Args:
      operations: signature -> operations that it needs; empty for TFLite, which has no section.
      precision: of the variant.
    """
    if not operations:
        return []
    heading = ["## Other runtimes", ""]
    if precision == "bfloat16":
        names = " and ".join(tried_runtimes())
        return [*heading, f"{names} were not tried with bfloat16. Use an export in float32.", ""]
    signatures: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(operations):
        cells = tuple(map(_cell, runtime_support(operations[name]).values()))
        signatures.setdefault(cells, []).append(f"`{name}`")
    rows = [[", ".join(names), *cells] for cells, names in signatures.items()]
    table = markdown_table([["signatures", *tried_runtimes()], *rows])
    return [*heading, *table, "", *_LEGEND, ""]


def _cell(support: RuntimeSupport) -> str:
    if support.agrees:
        return "agrees"
    parts = {"lacks": support.lacking, "not tried": support.untried}
    return "; ".join(f"{title} {', '.join(names)}" for title, names in parts.items() if names)
