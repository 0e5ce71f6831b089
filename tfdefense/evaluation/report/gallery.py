"""The picture of a report: what attacks do to images, and what the purifier makes of them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfdefense.attacks import Attack, enable_stop_at_success
from tfdefense.attacks.core.spec import format_attack
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.evaluation.detection import REJECTED
from tfdefense.evaluation.pipelines import evaluated_pipelines
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.training.distribute import multi_worker
from tfdefense.utils.figures import save_figure, subplots

_COLUMNS = 10
_RIGHT, _WRONG = "#0072b2", "#d55e00"  # Blue and vermilion: told apart by colour-blind readers too.


def save_gallery(
    defense: Defense, test: Split, attacks: Sequence[Attack], path: Path, names: Sequence[str] = ()
) -> None:
    """Draws clean, adversarial and purified images, each with what it is taken for; and what differs from clean.

    Args:
      defense, test, attacks: as in `evaluate`.
      path: a PNG file to write; an SVG goes beside it.
      names: class names; numbers where there are none.
    """
    chosen = test.select(_one_of_each_class(test.labels))
    classifier, pipeline = ModelRunner(defense.classifier), ModelRunner(defense.defend(), defense.batch_size)
    attacked = [(chosen, "clean", "purified")]
    for attack in attacks:
        title = f"{_wrapped(attack)} on\nclassifier"
        attacked.append((classifier.attack(attack, chosen), title, "purified\n(grey box)"))
    strong = enable_stop_at_success(attacks[-1])
    crafted = evaluated_pipelines(pipeline)[0].attacked_further(strong, chosen, pipeline.attack(strong, chosen))
    attacked.append((crafted, f"{_wrapped(attacks[-1])} on\ndefence", "purified\n(white box)"))
    rows = []
    for split, title, purified in attacked:
        rows.append(_judged(title, split.images, split, classifier, defense))
        cleaned = pipeline.ask(defense.purify, split)
        rows.append(_judged(purified, cleaned, split, pipeline, defense))
        # Grey where purifying gave back the clean image.
        rows.append(_Row("less the\nclean image", 0.5 + (cleaned - chosen.images) / 2))
    multi_worker.run_on_chief(lambda: _draw(rows, chosen.labels, names, path))


def _wrapped(attack: Attack) -> str:
    return format_attack(attack).replace(":", ":\n")


def _one_of_each_class(labels: np.ndarray) -> np.ndarray:
    """Indices of the first example of each class, then of whatever comes first."""
    _, first = np.unique(labels, return_index=True)
    others = np.setdiff1d(np.arange(len(labels)), first)
    return np.concatenate([first, others])[:_COLUMNS]


@dataclasses.dataclass(frozen=True)
class _Row:
    """Pictures side by side; with the classes that they are taken for, -1 where refused, if they are judged."""

    title: str
    images: np.ndarray
    predicted: np.ndarray | None = None


def _judged(title: str, shown: np.ndarray, split: Split, judge: ModelRunner, defense: Defense) -> _Row:
    predicted = judge.predict(split)
    if defense.detects and judge.model is not defense.classifier:
        predicted = np.where(judge.ask(defense.excess, split) > 0, REJECTED, predicted)
    return _Row(title, shown, predicted)


def _draw(rows: Sequence[_Row], labels: np.ndarray, names: Sequence[str], path: Path) -> None:
    count, height, width = len(labels), *rows[0].images.shape[1:3]
    gap = max(1, width // 12)
    # One strip a row: a picture each would take matplotlib seconds.
    figure, axes = subplots(
        len(rows), 1, figsize=(0.95 * count + 1.3, 1.12 * len(rows)), squeeze=False
    )
    left, top = 1.3 / (0.95 * count + 1.3), 1 - 0.2 / len(rows)
    figure.subplots_adjust(left=left, right=1, bottom=0, top=top)
    for axis, row in zip(axes[:, 0], rows, strict=True):
        strip = np.pad(
            np.clip(row.images, 0, 1),
            [(0, 0), (0, 0), (gap // 2, gap - gap // 2), (0, 0)],
            constant_values=1,
        )
        strip = np.concatenate(list(strip), axis=1)
        axis.imshow(strip.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_axis_off()
        axis.text(-gap, height / 2, row.title, ha="right", va="center", fontsize=8)
        if row.predicted is None:
            continue
        clean = row is rows[0] or row is rows[1]
        for number, (guess, label) in enumerate(zip(row.predicted, labels, strict=True)):
            right = guess == label or (guess == REJECTED and not clean)
            name = "refused" if guess == REJECTED else names[guess] if names else str(guess)
            axis.text(
                (number + 0.5) * (width + gap) - 0.5,
                -1.5,
                name if right else f"{name}  ✗",
                color=_RIGHT if right else _WRONG,
                ha="center",
                va="bottom",
                fontsize=8,
            )
    save_figure(figure, path)
