"""Time and strength of attacks on MNIST images, compared with ART and foolbox.

    .venv/bin/pip install -r benchmarks/requirements-attacks.txt
    .venv/bin/python benchmarks/attacks.py --data_dir=DIR
    .venv/bin/python benchmarks/attacks.py --data_dir=DIR --budget=defaults --attacks=cw --images=16

With --budget=equal all libraries attack with the same number of searches, steps and candidates, and
the same learning rate, confidence and overshoot: see `attack_peers.Budget`. With --budget=defaults
each library uses its own defaults; then a ratio of times compares different amounts of work.

All libraries attack the same weights, each as one compiled function, and the same correctly classified test images, in one process,
one after the other. ART runs at its fastest batch size in a trial on 16 images. The time of our
first call, which compiles the attack, is reported separately. Success rate and mean norm are
reported with each time, because a ratio of times only counts at equal strength.

`bound` is the time of the counted forward and backward passes alone, at the rate of batches of 128
images. `share` is `bound` divided by our time.
"""

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from attack_peers import Budget, make_art_peers, make_foolbox_peers, make_our_attacks

import tfdefense
from tfdefense.training.run_directory import RunDirectory

BATCH = 128
ZOO = Path(__file__).parents[1] / "tfdefense/zoo/models/apeganpp/mnist"
ROUNDS = {"fgsm": 9, "bim": 9, "pgd": 5}


class Target:
    """The classifier and images under attack, and the strength of an attack on them."""

    def __init__(self, run, data_dir, count):
        self.model = RunDirectory(run).load_classifier()
        test = tfdefense.data.load("mnist", data_dir).test
        logits = self.model.predict(test.images[: 2 * count], batch_size=BATCH, verbose=0)
        right = np.flatnonzero(np.argmax(logits, 1) == test.labels[: 2 * count])[:count]
        assert len(right) == count, f"only {len(right)} images are classified correctly"
        self.images, self.labels = test.images[right], test.labels[right]
        self.classes = logits.shape[1]
        further = np.random.default_rng(0).integers(1, self.classes, count)
        self.targets = ((self.labels + further) % self.classes).astype(np.int32)

    def strength(self, images, *, targeted):
        """Return success rate, and the mean L0 and L2 norms of the successful perturbations."""
        images = np.asarray(images, np.float32)
        predicted = np.argmax(self.model(images, training=False), 1)
        success = predicted == self.targets if targeted else predicted != self.labels
        change = (images - self.images)[success].reshape(success.sum(), -1)
        l2 = np.linalg.norm(change, axis=1)
        return {
            "success": float(success.mean()),
            "l0": float((np.abs(change) > 1e-6).sum(1).mean()) if len(change) else None,
            "l2": float(l2.mean()) if len(change) else None,
        }

    def pass_seconds(self, rounds=15):
        """Return the seconds of a pass for one image, in batches of 128.

        The keys are "forward", "backward", and "backward_of_nine": one of nine backward passes
        that follow one forward pass and can run in parallel.
        """
        images = tf.constant(np.resize(self.images, (BATCH, *self.images.shape[1:])))

        def gradients(count):
            @tf.function
            def function(images):
                with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                    tape.watch(images)
                    logits = self.model(images, training=False)
                    outputs = tf.unstack(logits, axis=1)[:count]
                return logits, [tape.gradient(output, images) for output in outputs]

            return function

        functions = {count: gradients(count) for count in (0, 1, 9)}
        times = {count: [] for count in functions}
        for _ in range(rounds):
            for count, function in functions.items():
                times[count].append(measure_seconds(lambda f=function: f(images))[0])
        median = {count: statistics.median(t[2:]) / len(images) for count, t in times.items()}
        return {
            "forward": median[0],
            "backward": median[1] - median[0],
            "backward_of_nine": (median[9] - median[0]) / 9,
        }


def measure_seconds(call):
    """Return the seconds of a call, and its result."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


class OurAttack:
    """One of our attacks on the target."""

    def __init__(self, target, attack, *, targeted):
        self.target, self.attack, self.targeted = target, attack, targeted
        self.targets = target.targets if targeted else None

    def __call__(self):
        target = self.target
        return self.attack(target.model, target.images, target.labels, self.targets).numpy()

    def count_passes(self):
        """Return the numbers of forward and of backward passes, over all images."""
        target = self.target
        result = self.attack.run(target.model, target.images, target.labels, self.targets)
        return int(np.sum(result.queries)), int(np.sum(result.gradients))


def time_batch_sizes(peer, images=16, sizes=(1, 16)):
    """Return batch size -> seconds per image."""
    peer(images, images)  # Warm-up.
    return {size: measure_seconds(lambda s=size: peer(s, images))[0] / images for size in sizes}


def compare(name, ours, peers, rounds):
    """Time an attack and its peers in turn, and print the comparison as one line of JSON.

    Args:
      name: the attack.
      ours: the `OurAttack`.
      peers: "art" and "foolbox" -> {attack name: function}, see `make_art_peers`.
      rounds: the number of times that each is timed; the median counts.
    """
    target, found = ours.target, {"attack": name, "ours": repr(ours.attack)}
    first, _ = measure_seconds(ours)
    calls = {"ours": ours}
    if name in peers["art"]:
        art = peers["art"][name]
        trial = time_batch_sizes(art)
        size = BATCH if min(trial, key=trial.get) > 1 else 1
        found["art_seconds_per_image_by_batch"] = {k: round(t, 4) for k, t in trial.items()}
        found["art_batch"] = size
        calls["art"] = lambda: art(size, len(target.images))
    if name in peers["foolbox"]:
        calls["foolbox"] = peers["foolbox"][name]
    for who in calls.keys() - {"ours"} if rounds > 1 else ():
        calls[who]()  # Warm-up; one that takes minutes needs none.
    times, images = {who: [] for who in calls}, {}
    for _ in range(rounds):
        for who, call in calls.items():
            spent, images[who] = measure_seconds(call)
            times[who].append(spent)
    # Once more after the peers, because their load may have changed the speed of the machine.
    times["ours"].append(measure_seconds(ours)[0])
    median = {who: statistics.median(spent) for who, spent in times.items()}
    found["seconds"] = {who: round(spent, 3) for who, spent in median.items()}
    found["seconds_of_first_call"] = round(first, 3)
    found["ratio"] = {
        who: round(median[who] / median["ours"], 2) for who in median if who != "ours"
    }
    found["strength"] = {
        who: target.strength(made, targeted=ours.targeted) for who, made in images.items()
    }
    if name in ("fgsm", "bim"):
        found["largest_difference"] = {
            who: float(np.abs(made - images["ours"]).max())
            for who, made in images.items()
            if who != "ours"
        }
    found |= bound_of_passes(ours, median["ours"], deepfool=name == "deepfool")
    print(json.dumps(found), flush=True)
    return found


def bound_of_passes(ours, seconds, *, deepfool):
    """Return the time of the counted passes alone, and its share of `seconds`."""
    queries, gradients = ours.count_passes()
    rates = ours.target.pass_seconds()
    backward = rates["backward_of_nine" if deepfool else "backward"]
    bound = queries * rates["forward"] + gradients * backward
    return {
        "passes": queries + gradients,
        "bound": round(bound, 3),
        "share": round(bound / seconds, 3),
    }


def main():
    warnings.filterwarnings("ignore")  # Warnings of the peers about NumPy and gradient tapes.
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--run", default=str(ZOO / "mnist_cnn"), help="directory with classifier.keras"
    )
    parser.add_argument("--data_dir", default=os.environ.get("TFDS_DATA_DIR"))
    parser.add_argument("--images", type=int, default=BATCH)
    parser.add_argument("--budget", default="equal", choices=("equal", "defaults"))
    parser.add_argument("--attacks", help="separated by commas (default: all of the budget)")
    arguments = parser.parse_args()
    target = Target(arguments.run, arguments.data_dir, arguments.images)
    budget = Budget() if arguments.budget == "equal" else None
    ours = make_our_attacks(budget)
    peers = {"art": make_art_peers(target, budget), "foolbox": make_foolbox_peers(target, budget)}
    results = []
    for name in arguments.attacks.split(",") if arguments.attacks else ours:
        our_attack = OurAttack(target, ours[name], targeted=name == "jsma")
        results.append(compare(name, our_attack, peers, ROUNDS.get(name, 1)))
    ratios = {
        f"{found['attack']}/{who}": ratio
        for found in results
        for who, ratio in found["ratio"].items()
    }
    print(
        json.dumps(
            {
                "benchmark": "attacks",
                "budget": arguments.budget,
                "classifier": target.model.name,
                "ours": {found["attack"]: found["seconds"]["ours"] for found in results},
                "peer": {
                    found["attack"]: {
                        who: spent for who, spent in found["seconds"].items() if who != "ours"
                    }
                    for found in results
                },
                "ratio": ratios,
                "unit": f"s for {len(target.images)} images",
                "share_of_bound": {found["attack"]: found["share"] for found in results},
            }
        )
    )


if __name__ == "__main__":
    main()
