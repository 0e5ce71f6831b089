"""The papers' curves: losses of generator and critic, and validation accuracy, over training."""

import contextlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from tfdefense.evaluation.report.training_curves import training_curves
from tfdefense.papers.store import Store
from tfdefense.papers.targets import Trained
from tfdefense.training.run_directory import write_text
from tfdefense.utils.figures import COLORS, STYLE, save_figure, subplots

_GENERATOR = "train/loss_generator"
_OPPONENTS = ("train/loss_critic", "train/loss_discriminator")
_POINTS = 60


def curves_of(
    trained: Iterable[Trained], store: Store, directory: Path
) -> list[tuple[Trained, dict[str, Any]]]:
    """What is known of the trainings of some defences: from the store, or from what an earlier call wrote down.

    Args:
      trained: which; those that learn nothing, are no GAN that purifies, or are not trained yet, are left out.
      store: where they lie.
      directory: a JSON file for each is written there, with at most 60 points a curve.

    Returns:
      Each with panel -> {"passes": [...], "values": [...]}; panels are generator, critic or discriminator, and accuracy.
    """
    found = []
    for each in trained:
        path = directory / f"{each.path(store).name}.json"
        curves = None
        if each.passes is not None and each.is_done(store):
            curves = _panels(each, store)
            if curves:
                directory.mkdir(parents=True, exist_ok=True)
                write_text(path, json.dumps(curves) + "\n")
        else:
            with contextlib.suppress(OSError, ValueError):
                curves = json.loads(path.read_text())
        if curves:
            found.append((each, curves))
    return found


def _panels(trained: Trained, store: Store) -> dict[str, Any]:
    """Of a GAN that purifies, its three panels; of anything else, none. Defense-GAN's own training has no images to purify."""
    run = trained.run(store)
    curves = training_curves(run)
    accuracies = [tag for tag in curves if tag.startswith("validation/accuracy_fgsm")]
    if _GENERATOR not in curves or not accuracies:
        return {}
    opponent = next(tag for tag in _OPPONENTS if tag in curves)
    accuracy = max(accuracies)
    steps_of_pass = run.config().surroundings["steps"] / trained.passes
    panels = {}
    for tag in (_GENERATOR, opponent, accuracy):
        steps, values = curves[tag]
        kept = np.unique(np.linspace(0, len(steps) - 1, min(_POINTS, len(steps))).astype(int))
        panels[tag.split("/")[1].replace("_", " ")] = {
            "passes": np.round(steps[kept] / steps_of_pass, 3).tolist(),
            "values": [float(f"{value:.4g}") for value in values[kept]],
        }
    return panels


def save_curves(known: Sequence[tuple[Trained, dict[str, Any]]], path: Path) -> bool:
    """Draws a row of three panels for each kind of GAN: loss of the generator, of its opponent, accuracy over passes.

    A line for each classifier that one was trained with, in the first paper's figures 4 to 13; accuracy is of validation images
    under FGSM, its strongest training strength, which the event files have, and not of test images.

    Returns:
      Whether there was anything to draw.
    """
    rows: dict[str, list[tuple[str, dict]]] = {}
    for trained, curves in known:
        rows.setdefault(trained.defense, []).append((trained.classifier.title, curves))
    if not rows:
        return False
    with matplotlib.rc_context(STYLE):
        size = 8.5, 2.3 * len(rows)
        figure, axes = subplots(len(rows), 3, size, layout="constrained", squeeze=False)
        for row, (defense, runs) in zip(axes, rows.items(), strict=True):
            for color, (title, curves) in zip(COLORS * 3, runs, strict=False):
                for axis, (panel, curve) in zip(row, curves.items(), strict=True):
                    marker = "." if len(curve["passes"]) < 40 else None
                    points = curve["passes"], curve["values"]
                    axis.plot(*points, color=color, label=title, marker=marker, linewidth=0.8)
                    axis.set(title=f"{defense}: {panel}", xlabel="passes")
            row[-1].legend(fontsize=6)
        save_figure(figure, path)
    return True
