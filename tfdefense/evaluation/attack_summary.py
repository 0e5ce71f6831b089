"""What a directory of adversarial examples amounts to."""

import json
from typing import Any

import numpy as np

from tfdefense.attacks.core.adversarial_dataset import AdversarialDataset
from tfdefense.data.core.dataset import Split
from tfdefense.training.distribute import multi_worker
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_share

SCHEMA = 1


def summarize_attack(examples: AdversarialDataset, split: Split) -> dict[str, Any]:
    """The figures of `summary.json`: shares with their 95 % Wilson interval, norms over successes.

    Norms are of the images that fool now and did not before.
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
    """Writes `summary.json` and `summary.md` beside the shards."""
    path = examples.directory.path
    table = format_attack_summary(examples, split)
    text = "\n".join(f"    {line}".rstrip() for line in table.splitlines())
    title = f"# {examples.settings['attack']} on {examples.settings['classifier']}"
    found = json.dumps(summarize_attack(examples, split), indent=2)

    def write() -> None:
        write_text_file(path / "summary.md", f"{title}\n\n{text}\n")
        write_text_file(path / "summary.json", f"{found}\n")

    multi_worker.run_on_chief(write)


def format_attack_summary(examples: AdversarialDataset, split: Split) -> str:
    """The same for a terminal."""
    found = summarize_attack(examples, split)
    settings = found["settings"]
    shown = ("attack", "dataset", "split", "images", "classifier", "batch_size", "weights")
    own = ", ".join(f"{name}={value}" for name, value in settings.items() if name not in shown)
    lines = [
        f"{settings['attack']} ({own})",
        f"on {settings['classifier']}, {settings['dataset']} {settings['split']}",
        "",
        f"fools                  {_percent(found['success'], found['n'])}",
        f"  rounded to 8 bits    {_percent(found['success_8bit'], found['n'])}",
        f"  before the attack    {_percent(found['clean_success'], found['n'])}",
    ]
    for name in ("l0", "l2", "linf"):
        lines.append(f"{name:22} {_numbers(found[name])}")
    for name in ("queries", "gradients"):
        lines.append(f"{name:22} {_numbers(found[name])}")
    lines.append(f"seconds                {found['seconds']:,.1f}")
    lines += [f"Note: {note}" for note in found["notes"]]
    if found["no_gradient"]["share"] > 0:
        lines.append(
            f"Check: no gradient at {found['no_gradient']['share']:.1%} of the images; the attack was"
            " blind there. Attack with square too, which needs none."
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


def _percent(share: dict[str, float], n: int) -> str:
    return format_share(share["share"], share["ci_low"], share["ci_high"], n)


def _numbers(spread: dict[str, float] | None) -> str:
    if spread is None:
        return "-"
    return "  ".join(f"{name} {value:,.4g}" for name, value in spread.items())
