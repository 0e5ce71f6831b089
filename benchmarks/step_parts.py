"""Images per second of a training step with all optimisations, and without each one.

    .venv/bin/python benchmarks/step_parts.py --training=cifar_cnn

The same training step, batch 128, in turn: with all parts of `PARTS`, and without each one. The last
line is one JSON object.
"""

import argparse
import contextlib
import json
import os
import statistics
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # As `tfdefense` sets it, if it comes first.

import keras
import tensorflow as tf
from our_training import BATCH, TRAININGS, OurTraining

from tfdefense.networks import residual_unet
from tfdefense.training import frozen_networks, trainer
from tfdefense.training.averaging_optimizers import AveragingAdam
from tfdefense.utils.huge_pages import use_huge_pages

ALL = "all"
PARTS = ("fused_batch_norm", "folded_batch_norm", "patch_products", "adam", "silu")


def without(part):
    """Return a context in which the training step is compiled without a part."""
    if part == "adam":
        return mock.patch.object(AveragingAdam, "update_step", keras.optimizers.Adam.update_step)
    if part == "silu":
        return mock.patch.object(residual_unet, "silu", tf.nn.silu)
    if part == ALL:
        return contextlib.nullcontext()
    stack, name = contextlib.ExitStack(), f"use_{part}"
    for module in (trainer, frozen_networks):
        if hasattr(module, name):
            nothing = mock.patch.object(module, name, return_value=contextlib.nullcontext())
            stack.enter_context(nothing)
    return stack


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", choices=list(TRAININGS), default="apeganpp")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--parts", default=",".join(PARTS), help="left out in turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(f"--parts={arguments.parts}: some of {', '.join(PARTS)} needed")
    trainings, rates = {}, {}
    for part in (ALL, *parts):
        trainings[part], rates[part] = OurTraining(arguments.training, arguments.precision), []
        with without(part):
            trainings[part].seconds(3)
    for number in range(arguments.rounds):
        for part, training in trainings.items():
            rates[part].append(arguments.steps * BATCH / training.seconds(arguments.steps))
        shown = "  ".join(f"{part} {values[-1]:.0f}" for part, values in rates.items())
        print(f"round {number + 1} of {arguments.rounds}: {shown}", flush=True)
    gains = {
        part: round(statistics.median(a / b for a, b in zip(rates[ALL], each, strict=True)), 2)
        for part, each in rates.items()
        if part != ALL
    }
    result = {
        "benchmark": "step_parts",
        "training": arguments.training,
        "precision": arguments.precision,
        "ours": round(statistics.median(rates[ALL]), 1),
        "unit": "images/s",
        "gain": gains,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    use_huge_pages()  # As `bin/train` does.
    main()
