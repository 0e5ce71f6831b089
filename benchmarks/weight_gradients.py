"""Rates of the weight gradients of convolutions: TensorFlow's kernel, and a product of patches.

    .venv/bin/python benchmarks/weight_gradients.py

Batches of 128 images, for layers of the GANs and classifiers here, in turn. `tfdefense` uses the
product in bfloat16 for layers with at most 64 pixels; this shows where that gains. The last line is
one JSON object.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # As `tfdefense` sets it, if it comes first.
sys.path.insert(0, str(Path(__file__).parents[1]))

import tensorflow as tf

from tfdefense.training.weight_gradients import Window, weight_gradient

BATCH = 128
# Side of the image, side of the kernel, channels, filters, stride.
LAYERS = {
    "generator of APE-GAN++": (14, 4, 64, 128, 2),
    "critic, second layer": (14, 3, 64, 128, 2),
    "critic, third layer": (7, 3, 128, 256, 2),
    "U-Net, 8x8": (8, 4, 128, 256, 2),
    "U-Net, 4x4": (4, 4, 256, 512, 2),
    "U-Net, 2x2": (2, 4, 512, 512, 2),
    "ResNet18, 16x16": (16, 3, 128, 128, 1),
    "ResNet18, 16x16 to 8x8": (16, 3, 128, 256, 2),
    "ResNet18, 8x8": (8, 3, 256, 256, 1),
    "ResNet18, 4x4": (4, 3, 512, 512, 1),
}


def repeated(function, images, upstream):
    """Return a compiled function that computes a weight gradient several times."""

    @tf.function
    def repeat(times):
        total = tf.zeros([])
        for _ in tf.range(times):
            # Depends on the loop variable, or the gradient would be computed only once.
            gradient = function(images + tf.cast(total * 1e-20, images.dtype), upstream)
            total += tf.cast(tf.reshape(gradient, [-1])[0], tf.float32)
        return total

    repeat(tf.constant(2))
    return repeat


def measure(layer, precision, rounds):
    """Return the GFLOP/s of the kernel and of the product."""
    side, kernel, channels, filters, stride = layer
    window = Window((kernel, kernel), (stride, stride), "SAME")
    outputs = -(-side // stride)
    images = tf.cast(tf.random.normal([BATCH, side, side, channels]), precision)
    upstream = tf.cast(tf.random.normal([BATCH, outputs, outputs, filters]), precision)

    def usual(images, upstream):
        return tf.raw_ops.Conv2DBackpropFilter(
            input=images,
            filter_sizes=[kernel, kernel, channels, filters],
            out_backprop=upstream,
            strides=[1, stride, stride, 1],
            padding="SAME",
        )

    def product(images, upstream):
        return weight_gradient(images, upstream, window)

    repeats = {
        "kernel": repeated(usual, images, upstream),
        "product": repeated(product, images, upstream),
    }
    flop = 2 * BATCH * outputs**2 * kernel**2 * channels * filters
    rates = {name: [] for name in repeats}
    for _ in range(rounds):
        for name, repeat in repeats.items():
            started = time.perf_counter()
            repeat(tf.constant(5)).numpy()
            rates[name].append(5 * flop / (time.perf_counter() - started) / 1e9)
    return {name: round(statistics.median(values)) for name, values in rates.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rates = {}
    for name, layer in LAYERS.items():
        rates[name] = measure(layer, arguments.precision, arguments.rounds)
        print(f"{name}: {rates[name]} GFLOP/s", flush=True)
    result = {"benchmark": "weight_gradients", "precision": arguments.precision, "rates": rates}
    print(json.dumps({**result, "unit": "GFLOP/s"}))


if __name__ == "__main__":
    main()
