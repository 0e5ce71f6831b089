"""Training steps per second with TensorFlow's two kinds of convolutions for CPUs.

    .venv/bin/python benchmarks/convolution_backend.py

TensorFlow uses oneDNN by itself only on processors with AVX-512; `tfdefense` switches it on. Times
APE-GAN++ on 28x28x1 images in batches of 64, with and without the mirrored variables that the
commands used on one CPU before version 0.3.0. The four settings run in turn, each in a new
process. The last line is one JSON object.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS, STEPS, BATCH = 3, 24, 64
SETTINGS = [(onednn, mirrored) for onednn in ("0", "1") for mirrored in ("plain", "mirrored")]


def measure(mirrored):
    """Print the images per second of one setting."""
    import tensorflow as tf
    from our_training import OurTraining

    strategy = tf.distribute.MirroredStrategy(["CPU:0"]) if mirrored == "mirrored" else None
    with strategy.scope() if strategy else contextlib.nullcontext():
        training = OurTraining("apeganpp", batch_size=BATCH)
        training.seconds(3)
        print(STEPS * BATCH / training.seconds(STEPS))


def measure_in_process(onednn, mirrored):
    """Return the images per second of one setting, measured in a new process."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": onednn, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, mirrored]
    ran = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return float(ran.stdout.split()[-1])


def main():
    rates = {setting: [] for setting in SETTINGS}
    for number in range(ROUNDS):
        for setting in SETTINGS:
            rates[setting].append(measure_in_process(*setting))
        shown = "  ".join(f"oneDNN {a} {b}: {rates[a, b][-1]:.0f}" for a, b in SETTINGS)
        print(f"{time.strftime('%H:%M')} round {number + 1} of {ROUNDS}: {shown}", flush=True)
    median = {setting: statistics.median(values) for setting, values in rates.items()}
    result = {
        "benchmark": "convolution_backend",
        "ours": round(median["1", "plain"]),
        "peer": round(median["0", "mirrored"]),
        "ratio": round(median["1", "plain"] / median["0", "mirrored"], 2),
        "unit": "images/s",
        "images_per_second": {f"onednn={a} {b}": round(median[a, b]) for a, b in SETTINGS},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
