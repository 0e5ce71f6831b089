"""Images per second of a training step, compared with the same step in PyTorch at its best.

    .venv/bin/pip install -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/train_step.py                       # APE-GAN++
    .venv/bin/python benchmarks/train_step.py --training=resnet18
    .venv/bin/python benchmarks/train_step.py --training=color_purifier --strategy=per_core

Both train the same networks with the same losses, batch 128, on the CPU: purifiers on 28x28x1
(`apeganpp`, `cgan`), all others on 32x32x3. They run in turn, so that a change in the speed of the
machine affects both. Ours runs in float32 and bfloat16. The peer first runs in every setting:
memory format, precision (autocast), eager or compiled. The fastest in float32 and the two fastest of
all take part in the rounds, and the ratio is to the one with the highest median. Ratios are of the
same round. The share is relative to the rate of TensorFlow's forward convolutions in the same
precision and strategy. The last line is one JSON object.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # As `tfdefense` sets it, if it comes first.

import tensorflow as tf
from our_training import BATCH, OurTraining, count_parameters

from tfdefense.training.distribute.strategies import make_strategy
from tfdefense.utils.huge_pages import use_huge_pages

PRECISIONS = ("float32", "bfloat16")
SETTINGS = [
    "/".join(setting)
    for setting in itertools.product(
        ("contiguous", "channels_last"), PRECISIONS, ("eager", "compiled")
    )
]
COLOR_PEER = "torch_color_step.py"
PEERS = {
    "apeganpp": "torch_train_step.py",
    "cgan": "torch_pix2pix_step.py",
    "cifar_cnn": COLOR_PEER,
    "resnet18": COLOR_PEER,
    "robust_purifier": COLOR_PEER,
    "color_purifier": "torch_residual_step.py",
}
TRIALS, TRIAL_STEPS = 3, 4


class PeerTraining:
    """Training by PyTorch, in its own process.

    Attributes:
      sizes: the parameter counts of its networks.
      failed: setting -> reason.
    """

    def __init__(self, python, name):
        script = Path(__file__).with_name(PEERS[name])
        self.process = subprocess.Popen(
            [python, script, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = self.process.stdout.readline().strip()
        if not self.version:
            sys.exit("train_step: PyTorch is missing: pip install -r benchmarks/requirements.txt")
        self.sizes, self.failed = None, {}

    def _ask(self, word):
        try:
            self.process.stdin.write(f"{word}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            sys.exit(f"train_step: the process of PyTorch ended. Failed settings: {self.failed}")
        return self.process.stdout.readline()

    def seconds(self, steps, setting):
        """Return the seconds of some steps, or None if the setting does not work."""
        answer = self._ask(setting).split(maxsplit=1)
        if not answer or answer[0] == "error":
            self.failed[setting] = answer[1].strip() if answer else "the process ended"
            return None
        self.sizes = [int(size) for size in " ".join(answer).split()]
        return float(self._ask(steps))


class Convolutions:
    """Forward convolutions alone: expensive layers of the networks."""

    LAYERS = ((26, 32, 64, 1, "VALID"), (14, 64, 128, 2, "SAME"), (7, 128, 256, 2, "SAME"))

    def __init__(self, precision):
        self.runs, self.flop = [], 0
        share = BATCH // tf.distribute.get_strategy().num_replicas_in_sync
        for size, channels, filters, stride, padding in self.LAYERS:
            images = tf.random.uniform([share, size, size, channels])
            kernel = tf.random.uniform([3, 3, channels, filters])
            images, kernel = tf.cast(images, precision), tf.cast(kernel, precision)
            self.runs.append(self._repeated(images, tf.Variable(kernel), stride, padding))
            outputs = (size - 2) ** 2 if padding == "VALID" else (-(-size // stride)) ** 2
            self.flop += 2 * BATCH * outputs * filters * channels * 9
        self.gflop_per_second(3)

    @staticmethod
    def _repeated(images, kernel, stride, padding):
        strategy = tf.distribute.get_strategy()

        def repeat(times):
            total = tf.zeros([], images.dtype)
            for _ in tf.range(times):
                # Depends on the loop variable, or the convolution would be computed only once.
                out = tf.nn.conv2d(images + total * 1e-20, kernel, stride, padding)
                total += out[0, 0, 0, 0]
            return total

        @tf.function
        def run(times):
            return strategy.reduce("SUM", strategy.run(repeat, [times]), axis=None)

        return run

    def gflop_per_second(self, times=15):
        started = time.perf_counter()
        for run in self.runs:
            run(tf.constant(times)).numpy()
        return times * self.flop / (time.perf_counter() - started) / 1e9


def choose_settings(peer):
    """Return the fastest setting of the peer in float32 and the two fastest of all.

    Trials of a setting are some time apart, so that other work does not decide.
    """
    rates = {}
    for trial, setting in itertools.product(range(TRIALS), SETTINGS):
        if setting not in peer.failed and (seconds := peer.seconds(TRIAL_STEPS, setting)):
            rates[setting] = max(rates.get(setting, 0), TRIAL_STEPS * BATCH / seconds)
        if trial == TRIALS - 1:
            print(f"peer {setting}: {peer.failed.get(setting, rates.get(setting))}", flush=True)
    ranked = sorted(rates, key=rates.get, reverse=True)
    return next(setting for setting in ranked if "/float32/" in setting), ranked[:2]


def run_round(steps, ours, peer, settings, convolutions):
    """Return name -> images/s, or GFLOP/s of convolutions, of one round."""
    rates = {}
    for precision in PRECISIONS:
        rates[f"ours/{precision}"] = steps * BATCH / ours[precision].seconds(steps)
        rates[f"convolution/{precision}"] = convolutions[precision].gflop_per_second()
    for setting in dict.fromkeys(settings):
        rates[setting] = steps * BATCH / peer.seconds(steps, setting)
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", choices=list(PEERS), default="apeganpp")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument(
        "--strategy", choices=("mirrored", "per_core"), default="mirrored", help="ours"
    )
    parser.add_argument("--peer_python", default=sys.executable, help="Python with PyTorch")
    arguments = parser.parse_args()
    with make_strategy(arguments.strategy).scope():
        compare(arguments)


def compare(arguments):
    """Run the rounds in the scope of the strategy, and print the result."""
    peer = PeerTraining(arguments.peer_python, arguments.training)
    float32_setting, finalists = choose_settings(peer)
    ours = {precision: OurTraining(arguments.training, precision) for precision in PRECISIONS}
    sizes = [count_parameters(network) for network in ours["float32"].networks]
    assert sizes == peer.sizes, f"the networks differ: {sizes} and {peer.sizes} parameters"
    convolutions = {precision: Convolutions(precision) for precision in PRECISIONS}
    for training in ours.values():
        training.seconds(3)
    rounds = []
    for number in range(arguments.rounds):
        rounds.append(
            run_round(arguments.steps, ours, peer, (float32_setting, *finalists), convolutions)
        )
        shown = "  ".join(f"{name} {rate:.0f}" for name, rate in rounds[-1].items())
        print(f"round {number + 1} of {arguments.rounds}: {shown}", flush=True)
    median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    best = max(finalists, key=lambda setting: median[setting])
    fastest = max(PRECISIONS, key=lambda precision: median[f"ours/{precision}"])
    ratios = [each[f"ours/{fastest}"] / each[best] for each in rounds]
    float32_ratios = [each["ours/float32"] / each[float32_setting] for each in rounds]
    gflop = ours["float32"].flop / 1e9
    result = {
        "benchmark": "train_step",
        "training": arguments.training,
        "strategy": arguments.strategy,
        **{name: round(rate, 1) for name, rate in median.items()},
        "unit": "images/s; GFLOP/s of convolutions",
        "peer_name": f"PyTorch {peer.version} {best}",
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min_max": [round(min(ratios), 3), round(max(ratios), 3)],
        "ratio_float32": round(statistics.median(float32_ratios), 3),
        "gflop_per_image": round(gflop, 3),
        **{
            f"share_of_convolution_rate/{precision}": round(
                median[f"ours/{precision}"] * gflop / median[f"convolution/{precision}"], 3
            )
            for precision in PRECISIONS
        },
        "peer_failed": peer.failed,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    use_huge_pages()  # As `bin/train` does. The peer's process gets the same settings.
    main()
