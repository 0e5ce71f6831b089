"""Training curves of the defences behind a table: losses and validation accuracy over epochs."""

import contextlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.evaluation.report.training_curves import load_training_curves
from tfdefense.papers.store import TargetStore
from tfdefense.papers.targets import DefenseTarget
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.figures import COLORS, figure_style, save_figure, subplots
from tfdefense.utils.json_types import typed_value
from tfdefense.utils.untrusted_file import read_json_file

_GENERATOR = "train/loss_generator"
_OPPONENTS = ("train/loss_critic", "train/loss_discriminator")
_MAX_POINTS = 60
_PANELS = 3

# Panel title -> {"passes": epochs, "values": values}. The stored JSON files call epochs "passes".
Curves = dict[str, dict[str, list[float]]]


def collect_curves(
    targets: Iterable[DefenseTarget], store: TargetStore, directory: Path
) -> list[tuple[DefenseTarget, Curves]]:
    """Return the training curves of GAN purifiers, from the store or from files of an earlier call.

    Args:
      targets: defences. Those without training, without purified images or not trained yet are left
        out.
      store: the store of the targets.
      directory: one JSON file per defence is written there, with at most 60 points per curve.

    Returns:
      Each defence with its three curves: loss of the generator, loss of the critic or
        discriminator, and accuracy.
    """
    found = []
    for target in targets:
        path = directory / f"{target.path(store).name}.json"
        curves: Curves | None = None
        if target.passes is not None and target.is_done(store):
            curves = _read_curves(target, target.passes, store)
            if curves:
                directory.mkdir(parents=True, exist_ok=True)
                write_text_file(path, json.dumps(curves) + "\n")
        else:
            with contextlib.suppress(ValueError):  # Missing, not a regular file, or damaged.
                curves = _parse_curves(read_json_file(path))
        if curves:
            found.append((target, curves))
    return found


def _parse_curves(content: Any) -> Curves:
    """Return the curves in the content of a JSON file; raise `ValueError` if it has others."""
    numbers = tuple[float, ...]
    curves = {
        panel: {name: list(typed_value(curve.get(name), numbers)) for name in ("passes", "values")}
        for panel, curve in typed_value(content, dict).items()
        if typed_value(curve, dict)
    }
    lengths = [(len(curve["passes"]), len(curve["values"])) for curve in curves.values()]
    if len(curves) != _PANELS or any(steps != values for steps, values in lengths):
        raise ValueError("not three curves")
    return curves


def _read_curves(target: DefenseTarget, passes: int, store: TargetStore) -> Curves:
    """Return the curves of a GAN purifier from its event files; {} for another defence.

    Defense-GAN is not a GAN purifier here: its training has no images to purify.
    """
    run = target.run(store)
    logged = load_training_curves(run)
    accuracies = [tag for tag in logged if tag.startswith("validation/accuracy_fgsm")]
    if _GENERATOR not in logged or not accuracies:
        return {}
    opponent = next(tag for tag in _OPPONENTS if tag in logged)
    strongest = max(accuracies)
    steps_per_epoch = run.read_config().metadata_value("steps", int) / passes
    curves = {}
    for tag in (_GENERATOR, opponent, strongest):
        steps, values = logged[tag]
        points = np.linspace(0, len(steps) - 1, min(_MAX_POINTS, len(steps)))
        indices = np.unique(points.astype(int))
        curves[tag.split("/")[1].replace("_", " ")] = {
            "passes": np.round(steps[indices] / steps_per_epoch, 3).tolist(),
            "values": [float(f"{value:.4g}") for value in values[indices]],
        }
    return curves


def plot_curves(curves_by_target: Sequence[tuple[DefenseTarget, Curves]], path: Path) -> bool:
    """Draw one row of three panels per kind of GAN, with one line per classifier.

    These are figures 4 to 13 of Yang et al. 2021, with one difference: accuracy is measured on
    validation images under FGSM with the largest training strength, because the event files have no
    accuracy on test images.

    Returns:
      False if there is nothing to draw.
    """
    rows: dict[str, list[tuple[str, Curves]]] = {}
    for target, curves in curves_by_target:
        rows.setdefault(target.defense, []).append((target.classifier.title, curves))
    if not rows:
        return False
    with figure_style():
        size = 8.5, 2.3 * len(rows)
        figure, axes = subplots(len(rows), 3, size, layout="constrained", squeeze=False)
        for row, (defense, runs) in zip(axes, rows.items(), strict=True):
            for color, (title, curves) in zip(COLORS * 3, runs, strict=False):
                for axis, (panel, curve) in zip(row, curves.items(), strict=True):
                    marker = "." if len(curve["passes"]) < 40 else None
                    points = curve["passes"], curve["values"]
                    axis.plot(*points, color=color, label=title, marker=marker, linewidth=0.8)
                    axis.set(title=f"{defense}: {panel}", xlabel="epochs")
            row[-1].legend(fontsize=6)
        save_figure(figure, path)
    return True
