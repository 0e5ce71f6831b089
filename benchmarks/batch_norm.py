"""Images per second of training with batch normalisation in one operation, and with Keras' own.

    .venv/bin/python benchmarks/batch_norm.py --training=cifar_cnn

The same training step, batch 128, in float32 and bfloat16, in turn. The last line is one JSON object.
"""

import argparse
import contextlib
import json
import os
import statistics
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # As `tfdefense` sets it, if it comes first.

from our_training import BATCH, TRAININGS, OurTraining

CONTEXT = "tfdefense.training.trainer.use_fused_batch_norm"


def make_training(name, precision, *, fused):
    """Return a training whose step is compiled."""
    training = OurTraining(name, precision)
    plain = mock.patch(CONTEXT, return_value=contextlib.nullcontext())
    with contextlib.nullcontext() if fused else plain:
        training.seconds(3)
    return training


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", choices=list(TRAININGS), default="cifar_cnn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    trainings = {
        f"{kind}/{precision}": make_training(arguments.training, precision, fused=kind == "one")
        for precision in ("float32", "bfloat16")
        for kind in ("one", "keras")
    }
    rates = {name: [] for name in trainings}
    for number in range(arguments.rounds):
        for name, training in trainings.items():
            rates[name].append(arguments.steps * BATCH / training.seconds(arguments.steps))
        shown = "  ".join(f"{name} {values[-1]:.0f}" for name, values in rates.items())
        print(f"round {number + 1} of {arguments.rounds}: {shown}", flush=True)
    ratios = [a / b for a, b in zip(rates["one/bfloat16"], rates["keras/bfloat16"], strict=True)]
    median = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    result = {"benchmark": "batch_norm", "training": arguments.training, **median}
    print(json.dumps({**result, "unit": "images/s", "ratio": round(statistics.median(ratios), 2)}))


if __name__ == "__main__":
    main()
