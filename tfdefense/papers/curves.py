"""The papers' curves: losses of generator and critic, and validation accuracy, over training."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib

from tfdefense.evaluation.figures import COLORS, STYLE, save_figure, subplots
from tfdefense.evaluation.training_curves import training_curves
from tfdefense.papers.artefacts import Trained
from tfdefense.papers.store import Store

_LOSSES = ("train/loss_generator", "train/loss_critic", "train/loss_discriminator")


def save_curves(trained: Iterable[Trained], store: Store, path: Path) -> bool:
    """Draws a row of three panels for each kind of GAN: loss of the generator, of its opponent, accuracy over passes.

    A line for each classifier that one was trained with, in the first paper's figures 4 to 13; accuracy is of validation images
    under FGSM, its strongest training strength, which the event files have, and not of test images.

    Returns:
      Whether there was anything to draw.
    """
    found: dict[str, list[tuple[str, dict]]] = {}
    for each in trained:
        if each.passes is None or not each.is_done(store):
            continue
        run = each.run(store)
        curves = training_curves(run)
        if _LOSSES[0] in curves:
            of_pass = run.config().surroundings["steps"] / each.passes
            scaled = {tag: (steps / of_pass, values) for tag, (steps, values) in curves.items()}
            found.setdefault(each.defense, []).append((each.classifier.title, scaled))
    if not found:
        return False
    with matplotlib.rc_context(STYLE):
        size = 8.5, 2.3 * len(found)
        figure, axes = subplots(len(found), 3, size, layout="constrained", squeeze=False)
        for row, (defense, runs) in zip(axes, found.items(), strict=True):
            for color, (title, curves) in zip(COLORS * 3, runs, strict=False):
                opponent = next(tag for tag in _LOSSES[1:] if tag in curves)
                accuracy = max(tag for tag in curves if tag.startswith("validation/accuracy_fgsm"))
                for axis, tag in zip(row, (_LOSSES[0], opponent, accuracy), strict=True):
                    marker = "." if len(curves[tag][0]) < 40 else None
                    axis.plot(*curves[tag], color=color, label=title, marker=marker, linewidth=0.8)
                    axis.set(
                        title=f"{defense}: {tag.split('/')[1].replace('_', ' ')}", xlabel="passes"
                    )
            row[-1].legend(fontsize=6)
        save_figure(figure, path)
    return True
