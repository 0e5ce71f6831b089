"""Curves of a training, read from its event files: losses and validation accuracies."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfdefense.errors import short_reason
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.computer_failures import COMPUTER_FAILURES
from tfdefense.utils.figures import (
    COLORS,
    MARKERS,
    figure_style,
    save_figure,
    subplots,
    tight_layout,
)
from tfdefense.utils.progress import print_line
from tfdefense.utils.untrusted_file import require_regular_tree

_FLOAT32 = struct.Struct("<f")


def load_training_curves(run: RunDirectory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return tag -> (steps, values) of all scalars in the event files of a run.

    It is empty if there are no files, or if they cannot be read; then one line says why.
    """
    path = run.path / "events"
    if not path.is_dir():
        return {}
    try:
        require_regular_tree(path, str(path), remedy="Remove it.")
        events = EventAccumulator(str(path), size_guidance={"tensors": 0}).Reload()
    except COMPUTER_FAILURES:
        raise
    except Exception as error:  # TensorBoard has another exception for each kind of damage.
        print_line(f"No figure of the training: {path} cannot be read ({short_reason(error)}).")
        return {}
    curves = {}
    for tag in events.Tags()["tensors"]:
        if not tag.startswith(("train/", "validation/")):
            continue
        # A resumed run writes some steps twice, with the same values.
        points = [*{point.step: point for point in events.Tensors(tag)}.values()]
        values = [_scalar(point.tensor_proto) for point in points]
        if None not in values:
            steps = np.array([point.step for point in points])
            curves[tag] = steps, np.array(values, np.float32)
    return curves


def _scalar(proto: Any) -> float | None:
    """Return the value of a float32 scalar; None for any other tensor, however large it says it is."""
    is_scalar = not proto.tensor_shape.dim and not proto.tensor_shape.unknown_rank
    if proto.dtype != tf.float32.as_datatype_enum or not is_scalar:
        return None
    if len(proto.tensor_content) == _FLOAT32.size:
        return float(_FLOAT32.unpack(proto.tensor_content)[0])
    return proto.float_val[0] if len(proto.float_val) == 1 else None


def save_training_figure(run: RunDirectory, path: Path) -> bool:
    """Draw losses and validation accuracies over epochs, and write a PNG and an SVG file.

    Returns:
      Whether there was something to draw.
    """
    curves = load_training_curves(run)
    losses = [tag for tag in curves if tag.startswith("train/loss_")]
    accuracies = [tag for tag in curves if tag.startswith("validation/accuracy")]
    if not losses:
        return False
    config = run.read_config()
    steps_per_epoch = config.metadata_value("steps", int) / config.setting("epochs", int)
    with figure_style():
        figure, axes = subplots(1, 2 if accuracies else 1, figsize=(7, 2.6), squeeze=False)
        for axis, tags, prefix in zip(
            axes[0], (losses, accuracies), ("loss_", "accuracy_"), strict=False
        ):
            for number, tag in enumerate(tags):
                steps, values = curves[tag]
                label = tag.split("/")[1].removeprefix(prefix).replace("_", " ")
                axis.plot(
                    steps / steps_per_epoch,
                    values,
                    color=COLORS[number % len(COLORS)],
                    marker=MARKERS[number % len(MARKERS)] if len(steps) < 40 else None,
                    markersize=3,
                    linewidth=1,
                    label=label,
                )
            axis.set_xlabel("epoch")
            axis.set_xlim(left=0)
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.legend(fontsize=7)
        axes[0, 0].set_ylabel("loss")
        # Losses of a critic have both signs; others span several powers of ten.
        axes[0, 0].set_yscale("symlog", linthresh=0.01)
        # The formatter of this scale writes formulas, which the style does not set.
        axes[0, 0].yaxis.set_major_formatter("{x:g}")
        if accuracies:
            axes[0, 1].set_ylabel("validation accuracy")
        tight_layout(figure)
        save_figure(figure, path)
    return True
