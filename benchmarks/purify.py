"""Images per second of purifiers, compared with the rate that their convolutions alone would allow.

    .venv/bin/python benchmarks/purify.py

APE-GAN++ at batch 128, and Defense-GAN's search (10 restarts of 200 steps) at its default batch of
25, on 28x28x1 images, float32, on the CPU. The peer is the rate of TensorFlow's forward
convolutions, measured in turn with the purifiers: the images per second if every multiplication ran
at that rate. Weights do not change the time, so they are untrained. The last line is one JSON
object.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from our_training import SHAPE, count_multiplications
from train_step import Convolutions

from tfdefense.classifiers.mnist_cnn import build_mnist_cnn
from tfdefense.defenses import DEFENSES
from tfdefense.utils.huge_pages import use_huge_pages


def latent_generator_macs(code_size, filters):
    """Return the multiply-adds for one code.

    A dense layer, then 5x5 transposed convolutions at 4, 7 and 14 pixels.
    """
    dense = code_size * 4 * 4 * 4 * filters
    return dense + 25 * (16 * 8 * filters**2 + 49 * 2 * filters**2 + 196 * filters)


class Purifier:
    """A defence to time, with the floating-point operations of one image."""

    def __init__(self, name, batch, **hyperparameters):
        defense = DEFENSES.get(name)(build_mnist_cnn(SHAPE, 10), **hyperparameters)
        self.images = tf.random.stateless_uniform([batch, *SHAPE], [0, 0])
        self.purify = tf.function(defense.purify)
        if name == "defense_gan":
            config = defense.config
            macs = latent_generator_macs(config.code_size, config.generator_filters)
            # A step has a forward and a backward pass of the same size. The end is one forward pass.
            self.flop = 2 * macs * config.restarts * (2 * config.search_steps + 1)
        else:
            self.flop = 2 * count_multiplications(defense.generator, SHAPE)
        self.purify(self.images)

    def images_per_second(self, times):
        """Time `times` batches."""
        started = time.perf_counter()
        for _ in range(times):
            self.purify(self.images).numpy()
        return times * len(self.images) / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    convolutions = Convolutions("float32")
    purifiers = {
        "apeganpp": (Purifier("apeganpp", 128), 30),
        "defense_gan, 32 filters": (Purifier("defense_gan", 25), 1),
        "defense_gan, the paper's 64 filters": (
            Purifier("defense_gan", 25, generator_filters=64),
            1,
        ),
    }
    rates = {name: [] for name in purifiers}
    bounds = {name: [] for name in purifiers}
    for number in range(rounds):
        for name, (purifier, times) in purifiers.items():
            rates[name].append(purifier.images_per_second(times))
            bounds[name].append(1e9 * convolutions.gflop_per_second() / purifier.flop)
        shown = "  ".join(f"{name}: {values[-1]:.4g} images/s" for name, values in rates.items())
        print(f"round {number + 1} of {rounds}: {shown}", flush=True)
    results = {
        name: {
            "ours": round(statistics.median(rates[name]), 2),
            "peer": round(statistics.median(bounds[name]), 2),
            "ratio": round(
                statistics.median(
                    ours / bound for ours, bound in zip(rates[name], bounds[name], strict=True)
                ),
                3,
            ),
            "gflop_per_image": round(purifier.flop / 1e9, 4),
        }
        for name, (purifier, _) in purifiers.items()
    }
    print(
        json.dumps(
            {
                "benchmark": "purify",
                **results["apeganpp"],
                "peer_name": "TensorFlow's forward convolutions",
                "unit": "images/s",
                "each": results,
            }
        )
    )


if __name__ == "__main__":
    use_huge_pages()  # As the commands do.
    main()
