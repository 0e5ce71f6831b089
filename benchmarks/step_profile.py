"""Picture of the time that a training step spends in each kind of operation.

    .venv/bin/python benchmarks/step_profile.py --output=docs/step_profile.png

TensorFlow's profiler records some bfloat16 steps, batch 128: composed by Keras alone, and with the
parts of `step_parts.py`. Two operations can run at the same time, so the sum of a bar is more than the
duration of its step. The last line is one JSON object.
"""

import argparse
import contextlib
import json
import os
import re

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # As `tfdefense` sets it, if it comes first.

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot
from our_training import BATCH, OurTraining
from profiler_trace import record_events
from step_parts import PARTS, without

STEPS = 10
# The first expression that is in the type of an operation names its kind.
KINDS = {
    "weight gradients, dense layers": r"BackpropFilter|MatMul|Gather|^Pad$",
    "input gradients, transposed convolutions": r"Conv2DBackpropInput",
    "convolutions": r"Conv2D",
    "batch normalisation": r"BatchNorm",
    "activations, pooling": r"Relu|Tanh|Sigmoid|MaxPool",
    "optimizer, losses and the rest": r"",
}
TRAININGS = {"apeganpp": "APE-GAN++", "cgan": "pix2pix"}
_OPERATION = re.compile(r"[^:#]+/[^:#]+:(\w+)")  # <name in the graph>:<type>


def profile(training):
    """Return kind -> milliseconds in a step, and the milliseconds of a step."""
    training.seconds(3)
    duration = min(training.seconds(STEPS) for _ in range(3)) / STEPS
    with record_events() as events:
        training.seconds(STEPS)
    total = dict.fromkeys(KINDS, 0.0)
    for name, seconds in events:
        found = _OPERATION.match(name)
        if found and found[1] not in ("While", "_While", "IteratorGetNext"):
            kind = next(kind for kind, part in KINDS.items() if re.search(part, found[1]))
            total[kind] += 1e3 * seconds / STEPS
    return {kind: round(each, 1) for kind, each in total.items()}, round(1e3 * duration, 1)


def draw(profiles, path):
    """Draw one stacked bar for each profile."""
    figure, axes = pyplot.subplots(figsize=(9, 0.6 * len(profiles) + 1.9), layout="constrained")
    left = [0.0] * len(profiles)
    names = [f"{name}\n{BATCH / each[1] * 1e3:.0f} images/s" for name, each in profiles.items()]
    for kind in KINDS:
        widths = [each[0][kind] for each in profiles.values()]
        axes.barh(names, widths, left=left, label=kind)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds of operations in a step of 128 images, two cores, bfloat16")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="step_profile.png", help="the picture")
    arguments = parser.parse_args()
    profiles = {}
    for name, title in TRAININGS.items():
        training = OurTraining(name, "bfloat16")
        with contextlib.ExitStack() as stack:
            for part in PARTS:
                stack.enter_context(without(part))
            profiles[f"{title}, Keras alone"] = profile(training)
        profiles[f"{title}, now"] = profile(OurTraining(name, "bfloat16"))
    for name, (total, duration) in profiles.items():
        print(f"{name}: {duration} ms; {total}", flush=True)
    draw(profiles, arguments.output)
    print(json.dumps({"benchmark": "step_profile", "unit": "ms", "profiles": profiles}))


if __name__ == "__main__":
    main()
