"""The gallery of a report: images before and after attacks and purification."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfdefense.attacks import Attack, enable_stop_at_success
from tfdefense.attacks.core.spec import format_attack
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import DefendedClassifier, Defense
from tfdefense.evaluation.per_image_results import REFUSED
from tfdefense.evaluation.pipelines import evaluated_pipelines
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.training.distribute import multi_worker
from tfdefense.utils.figures import save_figure, subplots
from tfdefense.utils.visible_text import visible_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 10
_TITLE_WIDTH = 18  # Characters; the margin holds 21, and " on" may follow.
_FONT_SIZE = 8.0
_INCHES = 0.95  # Width of a column.
_CORRECT, _WRONG = (
    "#0072b2",
    "#d55e00",
)  # Blue and vermilion, which colour-blind readers can tell apart.


@dataclasses.dataclass(frozen=True)
class _GalleryRow:
    """Images in a row.

    Attributes:
      title: text to the left of the row.
      images: float32 [N, H, W, C] in [0, 1].
      predicted: predicted classes int32 [N], `REFUSED` for a refused image; None shows none.
      is_clean: whether nothing was attacked.
    """

    title: str
    images: np.ndarray
    predicted: np.ndarray | None = None
    is_clean: bool = False


def save_gallery(
    defense: Defense,
    test: Split,
    attacks: Sequence[Attack],
    path: Path,
    class_names: Sequence[str] = (),
) -> None:
    """Draw clean, attacked and purified images with their predicted classes; write a PNG and an SVG.

    The attacks run on the classifier, and the last one also on the defended pipeline.

    Args:
      defense: the defence, with the classifier that it protects.
      test: clean images.
      attacks: the attacks.
      path: PNG file to write; the SVG file has the same stem.
      class_names: K names; without names, classes have numbers.
    """
    images = test.select(_one_image_per_class(test.labels))
    classifier = ModelRunner(defense.classifier)
    pipeline = ModelRunner(defense.defend(), defense.batch_size)
    groups = [(images, "clean", "purified")]
    for attack in attacks:
        attacked = classifier.attack(attack, images)
        title = f"{_attack_title(attack)} on\nclassifier"
        groups.append((attacked, title, "purified\n(grey box)"))
    strong = enable_stop_at_success(attacks[-1])
    attacked = pipeline.attack(strong, images)
    attacked = evaluated_pipelines(pipeline)[0].evade_detector(strong, images, attacked)
    groups.append((attacked, f"{_attack_title(attacks[-1])} on\ndefence", "purified\n(white box)"))
    rows = []
    for split, title, purified_title in groups:
        purified = pipeline.run_batches(defense.purify, split)
        is_clean = split is images
        predicted = [classifier.predict(split), _defended_classes(pipeline, split)]
        rows.append(_GalleryRow(title, np.asarray(split.images), predicted[0], is_clean))
        rows.append(_GalleryRow(purified_title, purified, predicted[1], is_clean))
        # Grey where purification returns the clean image.
        difference = 0.5 + (purified - np.asarray(images.images)) / 2
        rows.append(_GalleryRow("purified\nminus clean", difference))
    multi_worker.run_on_chief(lambda: _save_rows(rows, images.labels, class_names, path))


def _attack_title(attack: Attack) -> str:
    """Return the specification with one option on each line; options wider than the margin wrap."""
    lines = [""]
    for part in re.findall(r"[^:=_]*[:=_]|[^:=_]+", format_attack(attack)):
        if lines[-1].endswith(":") or len(lines[-1] + part) > _TITLE_WIDTH:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _one_image_per_class(labels: np.ndarray) -> np.ndarray:
    """Return the indices of the first image of each class, then of other images."""
    _, first = np.unique(labels, return_index=True)
    others = np.setdiff1d(np.arange(len(labels)), first)
    return np.concatenate([first, others])[:_COLUMNS]


def _defended_classes(pipeline: ModelRunner[DefendedClassifier], split: Split) -> np.ndarray:
    """Return the predicted classes int32 [N] of the pipeline, `REFUSED` for refused images."""
    predicted = pipeline.predict(split)
    defense = pipeline.model.defense
    if not defense.detects:
        return predicted
    return np.where(pipeline.run_batches(defense.detector_score, split) > 0, REFUSED, predicted)


def _save_rows(
    rows: Sequence[_GalleryRow], labels: np.ndarray, class_names: Sequence[str], path: Path
) -> None:
    count, height = len(labels), rows[0].images.shape[1]
    width, height_inches = _INCHES * count + 1.3, 1.12 * len(rows)
    figure, axes = subplots(len(rows), 1, figsize=(width, height_inches), squeeze=False)
    figure.subplots_adjust(left=1.3 / width, right=1, bottom=0, top=1 - 0.2 / len(rows))
    for axis, row in zip(axes[:, 0], rows, strict=True):
        # One picture per row, because matplotlib needs seconds for one picture per image.
        axis.imshow(_strip(row.images), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_axis_off()
        axis.text(
            -_gap(row.images), height / 2, row.title, ha="right", va="center", fontsize=_FONT_SIZE
        )
        _write_classes(axis, row, labels, class_names)
    save_figure(figure, path)


def _strip(images: np.ndarray) -> np.ndarray:
    """Return images side by side with white gaps."""
    gap = _gap(images)
    padding = [(0, 0), (0, 0), (gap // 2, gap - gap // 2), (0, 0)]
    padded = np.pad(np.clip(images, 0, 1), padding, constant_values=1)
    return np.concatenate(list(padded), axis=1).squeeze()


def _gap(images: np.ndarray) -> int:
    """Return the gap between two images in pixels."""
    return max(1, images.shape[2] // 12)


def _write_classes(
    axis: "Axes", row: _GalleryRow, labels: np.ndarray, class_names: Sequence[str]
) -> None:
    """Write the predicted class above each image."""
    if row.predicted is None:
        return
    pitch = row.images.shape[2] + _gap(row.images)
    for number, (predicted, label) in enumerate(zip(row.predicted, labels, strict=True)):
        refused = predicted == REFUSED
        correct = predicted == label or (refused and not row.is_clean)
        name = class_names[predicted] if class_names and not refused else str(predicted)
        # Before the text is measured: no font has an unpaired surrogate.
        name = "refused" if refused else visible_text(name)
        text = axis.text(
            (number + 0.5) * pitch - 0.5,
            -1.5,
            name if correct else f"{name}  ✗",
            color=_CORRECT if correct else _WRONG,
            ha="center",
            va="bottom",
            fontsize=_FONT_SIZE,
            parse_math=False,
        )
        space = 0.98 * _INCHES * axis.figure.dpi
        text.set_fontsize(_FONT_SIZE * min(1.0, space / max(text.get_window_extent().width, 1.0)))
