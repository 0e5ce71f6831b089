"""Summary of a directory of adversarial examples."""

import json
from typing import Any

import numpy as np

from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.data.core.dataset import Split
from tfdefense.training.distribute import multi_worker
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_percent, format_share

SCHEMA = 1
_NOT_HYPERPARAMETERS = (
    *("attack", "dataset", "split", "images", "classifier", "batch_size", "weights"),
    *("attack_code", "model_code", "tensorflow"),
)


def summarize_attack(examples: AdversarialDataset, split: Split) -> dict[str, Any]:
    """Return the content of `summary.json`.

    Shares have 95 % Wilson intervals. Norms are of the images that fool the model after the attack
    and do not before it.

    Args:
      examples: adversarial examples.
      split: the clean images.
    """
    new = examples.success & ~examples.clean_success
    shares = {
        "success": examples.success,
        "success_8bit": examples.success_8bit,
        "clean_success": examples.clean_success,
        "no_gradient": examples.no_gradient,
    }
    return {
        "schema": SCHEMA,
        "settings": examples.settings,
        "n": len(examples.success),
        **{name: _share(values) for name, values in shares.items()},
        **{name: _spread(getattr(examples, name)[new]) for name in ("l0", "l2", "linf")},
        "queries": _spread(examples.queries),
        "gradients": _spread(examples.gradients),
        "seconds": round(examples.seconds, 3),
        "notes": [split.note] if split.note else [],
        "made_with": package_versions(),
    }


def save_attack_summary(examples: AdversarialDataset, split: Split) -> None:
    """Write `summary.json` and `summary.md` into the directory of the examples."""
    path = examples.directory.path
    lines = format_attack_summary(examples, split).splitlines()
    text = "\n".join(f"    {line}".rstrip() for line in lines)
    title = f"# {examples.settings['attack']} on {examples.settings['classifier']}"
    content = json.dumps(summarize_attack(examples, split), indent=2)

    def write() -> None:
        write_text_file(path / "summary.md", f"{title}\n\n{text}\n")
        write_text_file(path / "summary.json", f"{content}\n")

    multi_worker.run_on_chief(write)


def format_attack_summary(examples: AdversarialDataset, split: Split) -> str:
    """Return the summary as text for a terminal; arguments as in `summarize_attack`."""
    summary = summarize_attack(examples, split)
    settings, n = summary["settings"], summary["n"]
    hyperparameters = ", ".join(
        f"{name}={value}" for name, value in settings.items() if name not in _NOT_HYPERPARAMETERS
    )
    values = {
        "fooled": _format_share(summary["success"], n),
        "  rounded to 8 bits": _format_share(summary["success_8bit"], n),
        "  before the attack": _format_share(summary["clean_success"], n),
        **{
            name: _format_spread(summary[name])
            for name in ("l0", "l2", "linf", "queries", "gradients")
        },
        "seconds": f"{summary['seconds']:,.1f}",
    }
    lines = [
        f"{settings['attack']} ({hyperparameters})",
        f"on {settings['classifier']}, {settings['dataset']} {settings['split']}",
        "",
        *(f"{name:22} {value}" for name, value in values.items()),
        *(f"Note: {note}" for note in summary["notes"]),
    ]
    blind = summary["no_gradient"]["share"]
    if blind > 0:
        lines.append(
            "Check failed: the first gradient of the attack, or of a part of it, is zero at every pixel of"
            f" {format_percent(blind)} of the images. Steps along a gradient may miss what fools them; the"
            " square attack needs no gradient."
        )
    return "\n".join(lines)


def _share(values: np.ndarray) -> dict[str, float]:
    low, high = wilson_interval(int(values.sum()), len(values))
    return {"share": float(values.mean()), "ci_low": low, "ci_high": high}


def _spread(values: np.ndarray) -> dict[str, float] | None:
    if len(values) == 0:
        return None
    return {
        "mean": float(np.mean(values)),
        "median": float(np.median(values)),
        "max": float(np.max(values)),
    }


def _format_share(share: dict[str, float], n: int) -> str:
    return format_share(share["share"], share["ci_low"], share["ci_high"], n)


def _format_spread(spread: dict[str, float] | None) -> str:
    if spread is None:
        return "-"
    return "  ".join(f"{name} {value:,.4g}" for name, value in spread.items())
