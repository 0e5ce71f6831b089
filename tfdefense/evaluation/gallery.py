"""The picture of a report: what attacks do to images, and what the purifier makes of them."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from tfdefense.attacks import Attack, strongest
from tfdefense.attacks.labels import label_of
from tfdefense.data.dataset import Split
from tfdefense.defenses.base import Defense
from tfdefense.evaluation.columns import columns
from tfdefense.evaluation.figures import save_figure
from tfdefense.evaluation.judge import Judge

_COLUMNS = 10
_RIGHT, _WRONG = "#0072b2", "#d55e00"  # Blue and vermilion: told apart by colour-blind readers too.


def save_gallery(
    defense: Defense, test: Split, attacks: Sequence[Attack], path: Path, names: Sequence[str] = ()
) -> None:
    """Draws clean, adversarial and purified images, each with what the classifier takes it for.

    Args:
      defense, test, attacks: as in `evaluate`.
      path: a PNG file to write.
      names: class names; numbers where there are none.
    """
    chosen = test.select(_one_of_each_class(test.labels))
    classifier, pipeline = Judge(defense.classifier), Judge(defense.defend(), defense.batch_size)
    rows = [("clean", chosen, classifier), ("clean,\npurified", chosen, pipeline)]
    for attack in attacks:
        crafted = classifier.attack(attack, chosen)
        rows.append((f"{_wrapped(attack)} on\nclassifier", crafted, classifier))
        rows.append(("purified\n(grey box)", crafted, pipeline))
    strong = strongest(attacks[-1])
    crafted = columns(pipeline)[0].attacked_further(strong, chosen, pipeline.attack(strong, chosen))
    rows.append((f"{_wrapped(attacks[-1])} on\ndefence", crafted, classifier))
    rows.append(("purified\n(white box)", crafted, pipeline))
    _draw(rows, chosen.labels, defense, names, path)


def _wrapped(attack: Attack) -> str:
    return label_of(attack).replace(":", ":\n")


def _one_of_each_class(labels: np.ndarray) -> np.ndarray:
    """Indices of the first example of each class, then of whatever comes first."""
    _, first = np.unique(labels, return_index=True)
    others = np.setdiff1d(np.arange(len(labels)), first)
    return np.concatenate([first, others])[:_COLUMNS]


def _refused(judge: Judge, split: Split, defense: Defense) -> np.ndarray:
    """bool [N]: the defence's detector, if `judge` is of the defended pipeline, refuses the image."""
    if not defense.detects or judge.model is defense.classifier:
        return np.zeros(len(split), bool)
    return judge.ask(defense.excess, split) > 0


def _draw(
    rows: Sequence[tuple[str, Split, Judge]],
    labels: np.ndarray,
    defense: Defense,
    names: Sequence[str],
    path: Path,
) -> None:
    count = len(labels)
    figure, axes = plt.subplots(
        len(rows), count, figsize=(0.95 * count + 1.2, 1.12 * len(rows)), squeeze=False
    )
    for line, (title, split, judge) in zip(axes, rows, strict=True):
        shown = split.images
        if judge.model is not defense.classifier:
            shown = np.asarray(judge.model.defense.purify(shown))
        predicted, refused = judge.predict(split), _refused(judge, split, defense)
        for axis, image, guess, label, no in zip(
            line, shown, predicted, labels, refused, strict=True
        ):
            axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
            name = "refused" if no else names[guess] if names else str(guess)
            right = (no and not title.startswith("clean")) or (guess == label and not no)
            color, mark = (_RIGHT, "") if right else (_WRONG, "  ✗")
            axis.set_title(f"{name}{mark}", fontsize=8, color=color, pad=2)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=8)
    figure.tight_layout(pad=0.4)
    save_figure(figure, path)
