"""Images per second of a GAN purifier's training step, compared with the same step in PyTorch.

    .venv/bin/pip install -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/train_step.py                   # APE-GAN++
    .venv/bin/python benchmarks/train_step.py --defense=cgan    # pix2pix

Both train the same networks with the same losses on 28x28x1 images, batch 128, float32, on the CPU.
They run in turn, so that a change in the speed of the machine affects both. The peer is timed in
both memory formats of PyTorch, and the ratio is to the faster one. The share is relative to the
rate of TensorFlow's forward convolutions on the same layers. The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # As `tfdefense` sets it, if it comes first.

import numpy as np
import tensorflow as tf

from tfdefense.classifiers.mnist_cnn import build_mnist_cnn
from tfdefense.defenses import DEFENSES
from tfdefense.training import LoopConfig, Trainer

BATCH, SHAPE = 128, (28, 28, 1)

# Multiply-adds for one image in the convolutions and dense layers of each network.
GENERATOR_MACS = 2 * (14 * 14 * 64 * 16) + 2 * (7 * 7 * 128 * 64 * 16)
CRITIC_MACS = 14 * 14 * 64 * 9 + 7 * 7 * 128 * 64 * 9 + 4 * 4 * 256 * 128 * 9 + 4096
CLASSIFIER_MACS = 26 * 26 * 32 * 9 + 24 * 24 * 64 * 32 * 9 + 1024 * 128 + 1280
# The U-Net pads images to 32x32. For each convolution: (smaller size, channels in, channels out).
DOWN = ((16, 1, 64), (8, 64, 128), (4, 128, 256), (2, 256, 512), (1, 512, 512))
UP = ((1, 512, 512), (2, 1024, 256), (4, 512, 128), (8, 256, 64), (16, 128, 1))
UNET_MACS = sum(16 * side * side * a * b for side, a, b in (*DOWN, *UP))
PATCHES = ((14, 2, 64), (7, 64, 128), (7, 128, 256), (7, 256, 1))
PATCH_GAN_MACS = sum(16 * side * side * a * b for side, a, b in PATCHES)

STEP_FLOP = {
    # Generator: forward pass, weight gradient, input gradient. Critic: these three for two images;
    # four passes for the penalty (forward, input gradient, and both derivatives of that); forward and
    # input gradient for the generator's loss. Classifier: forward and input gradient.
    "apeganpp": 2 * (3 * GENERATOR_MACS + (6 + 4 + 2) * CRITIC_MACS + 2 * CLASSIFIER_MACS),
    # As above, without the penalty.
    "cgan": 2 * (3 * UNET_MACS + (6 + 2) * PATCH_GAN_MACS + 2 * CLASSIFIER_MACS),
}
PEERS = {"apeganpp": "torch_train_step.py", "cgan": "torch_pix2pix_step.py"}


class OurTraining:
    """Training by this library."""

    def __init__(self, name):
        self.defense = DEFENSES.get(name)(build_mnist_cnn(SHAPE, 10))
        self.defense.prepare(steps=100_000)
        draws = np.random.default_rng(0)
        self.arrays = {
            "clean": draws.random((1_024, *SHAPE), np.float32),
            "direction": draws.choice(np.array([-1, 1], np.int8), (1_024, *SHAPE)),
            "labels": draws.integers(0, 10, 1_024).astype(np.int32),
        }
        self.trainer = Trainer(self.defense, LoopConfig(epochs=1, batch_size=BATCH))
        self.iterator = self.trainer.make_iterator(self.arrays)

    def seconds(self, steps):
        started = time.perf_counter()
        self.trainer.run_steps(self.iterator, 0, steps)
        return time.perf_counter() - started


class PeerTraining:
    """Training by PyTorch, in its own process."""

    def __init__(self, python, name):
        script = Path(__file__).with_name(PEERS[name])
        self.process = subprocess.Popen(
            [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        first = self.process.stdout.readline().split()
        if not first:
            sys.exit(
                "train_step: PyTorch is missing. Install it: pip install -r benchmarks/requirements.txt"
            )
        self.version, self.sizes = first[0], [int(size) for size in first[1:]]

    def seconds(self, steps, memory_format):
        self.process.stdin.write(f"{memory_format}\n{steps}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


class Convolutions:
    """Forward float32 convolutions alone: the most expensive layers of the step."""

    LAYERS = ((26, 32, 64, 1, "VALID"), (14, 64, 128, 2, "SAME"), (7, 128, 256, 2, "SAME"))

    def __init__(self):
        self.runs, self.flop = [], 0
        for size, channels, filters, stride, padding in self.LAYERS:
            images = tf.random.uniform([BATCH, size, size, channels])
            kernel = tf.Variable(tf.random.uniform([3, 3, channels, filters]))
            self.runs.append(self._repeated(images, kernel, stride, padding))
            outputs = (size - 2) ** 2 if padding == "VALID" else (-(-size // stride)) ** 2
            self.flop += 2 * BATCH * outputs * filters * channels * 9
        self.gflop_per_second(3)

    @staticmethod
    def _repeated(images, kernel, stride, padding):
        @tf.function
        def repeat(times):
            total = tf.zeros([])
            for _ in tf.range(times):
                # Depends on the loop variable, or the convolution would be computed only once.
                out = tf.nn.conv2d(images + total * 1e-20, kernel, stride, padding)
                total += out[0, 0, 0, 0]
            return total

        return repeat

    def gflop_per_second(self, times=15):
        started = time.perf_counter()
        for run in self.runs:
            run(tf.constant(times)).numpy()
        return times * self.flop / (time.perf_counter() - started) / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--defense", choices=list(PEERS), default="apeganpp")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--peer_python", default=sys.executable, help="Python with PyTorch")
    arguments = parser.parse_args()
    name, step_flop = arguments.defense, STEP_FLOP[arguments.defense]
    peer, ours, convolutions = (
        PeerTraining(arguments.peer_python, name),
        OurTraining(name),
        Convolutions(),
    )
    critic = "critic" if name == "apeganpp" else "discriminator"
    sizes = [
        sum(int(np.prod(v.shape)) for v in network.trainable_variables)
        for network in (ours.defense.generator, getattr(ours.defense, critic))
    ]
    assert sizes == peer.sizes, f"the networks differ: {sizes} and {peer.sizes} parameters"
    formats = ("contiguous", "channels_last")
    ours.seconds(3)
    for memory_format in formats:
        peer.seconds(3, memory_format)
    rates = {"ours": [], **{name: [] for name in formats}, "convolution": []}
    for round_number in range(arguments.rounds):
        images = arguments.steps * BATCH
        rates["ours"].append(images / ours.seconds(arguments.steps))
        for memory_format in formats:
            rates[memory_format].append(images / peer.seconds(arguments.steps, memory_format))
        rates["convolution"].append(convolutions.gflop_per_second())
        shown = "  ".join(f"{name} {values[-1]:.0f}" for name, values in rates.items())
        print(f"round {round_number + 1} of {arguments.rounds}: {shown}", flush=True)
    ratios = {
        name: [a / b for a, b in zip(rates["ours"], rates[name], strict=True)] for name in formats
    }
    median = {name: statistics.median(values) for name, values in rates.items()}
    best = max(formats, key=lambda name: median[name])
    result = {
        "benchmark": "train_step",
        "defense": name,
        "ours": round(median["ours"], 1),
        "peer": round(median[best], 1),
        "peer_name": f"PyTorch {peer.version} eager, {best}",
        "ratio": round(statistics.median(ratios[best]), 3),
        "ratio_min_max": [round(min(ratios[best]), 3), round(max(ratios[best]), 3)],
        "ratio_to_contiguous": round(statistics.median(ratios["contiguous"]), 3),
        "unit": "images/s",
        "gflop_per_image": round(step_flop / 1e9, 3),
        "gflop_per_second": round(median["ours"] * step_flop / 1e9, 1),
        "convolution_gflop_per_second": round(median["convolution"], 1),
        "share_of_convolution_rate": round(
            median["ours"] * step_flop / 1e9 / median["convolution"], 3
        ),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
