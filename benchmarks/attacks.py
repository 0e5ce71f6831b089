"""Seconds for 128 MNIST images on a trained MNIST-CNN, against ART and foolbox, at equal strength.

    .venv/bin/pip install -r benchmarks/requirements-attacks.txt
    bin/attack --attack=fgsm --dataset=mnist           # trains the classifier, if there is none yet
    .venv/bin/python benchmarks/attacks.py --run=runs/mnist-mnist_cnn

All attack the same weights and the same correctly classified test images, in one process, one after
the other. ART is run at the batch size that a trial on 16 images found best. Our time is that of a
compiled attack; the first call, which compiles, is told apart. Success and mean norm stand beside
each time: a ratio says nothing without them. `bound` is what the counted forward and backward
passes alone would take at the rate at which batches of 128 pass this classifier; `share` is how near
to it we are.
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

import keras
import numpy as np
import tensorflow as tf

import tfdefense
from tfdefense.attacks import BIM, FGSM, JSMA, PGD, CarliniWagnerL2, DeepFool
from tfdefense.training.run_directory import RunDirectory

BATCH = 128
EPSILON = 0.1
THETA, GAMMA = 0.3, 0.8
# Multiplications with additions for one image, forward, of MNIST-CNN.
FORWARD_FLOP = 2 * (26 * 26 * 32 * 9 + 24 * 24 * 64 * 32 * 9 + 1024 * 128 + 1280)


class Victim:
    """The classifier and the images, and what an attack amounts to on them."""

    def __init__(self, run, data_dir, count):
        self.model = RunDirectory(run).load_classifier()
        test = tfdefense.data.load("mnist", data_dir).test
        logits = self.model.predict(test.images[: 2 * count], batch_size=BATCH, verbose=0)
        right = np.flatnonzero(np.argmax(logits, 1) == test.labels[: 2 * count])[:count]
        assert len(right) == count, f"only {len(right)} images are classified correctly"
        self.images, self.labels = test.images[right], test.labels[right]
        further = np.random.default_rng(0).integers(1, 10, count)
        self.targets = ((self.labels + further) % 10).astype(np.int32)

    def strength(self, images, targeted=False):
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
        """Seconds of passes for one image in batches of 128.

        "forward" and "backward" alone, and "backward_of_nine": each of nine that follow one forward
        pass, which can run side by side.
        """
        images = tf.constant(self.images[:BATCH])

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
                times[count].append(seconds(lambda f=function: f(images))[0])
        median = {count: statistics.median(t[2:]) / len(images) for count, t in times.items()}
        return {
            "forward": median[0],
            "backward": median[1] - median[0],
            "backward_of_nine": (median[9] - median[0]) / 9,
        }


def seconds(call):
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


class Ours:
    def __init__(self, victim, attack, targeted=False):
        self.victim, self.attack, self.targeted = victim, attack, targeted
        self.targets = victim.targets if targeted else None

    def __call__(self):
        v = self.victim
        return self.attack(v.model, v.images, v.labels, self.targets).numpy()

    def cost(self):
        v = self.victim
        result = self.attack.run(v.model, v.images, v.labels, self.targets)
        return int(np.sum(result.queries)), int(np.sum(result.gradients))


def art_peers(victim):
    """name -> (batch size, first n images) -> adversarial images."""
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

    classifier = TensorFlowV2Classifier(
        victim.model,
        nb_classes=10,
        input_shape=(28, 28, 1),
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
    )
    quiet = {"verbose": False}
    makers = {
        "fgsm": lambda b: evasion.FastGradientMethod(classifier, eps=EPSILON, batch_size=b),
        "bim": lambda b: evasion.BasicIterativeMethod(
            classifier, eps=EPSILON, eps_step=EPSILON / 4, max_iter=10, batch_size=b, **quiet
        ),
        "pgd": lambda b: evasion.ProjectedGradientDescent(
            classifier,
            eps=EPSILON,
            eps_step=EPSILON / 30,
            max_iter=40,
            num_random_init=1,
            batch_size=b,
            **quiet,
        ),
        "deepfool": lambda b: evasion.DeepFool(classifier, batch_size=b, **quiet),
        "jsma": lambda b: evasion.SaliencyMapMethod(
            classifier, theta=THETA, gamma=GAMMA, batch_size=b, **quiet
        ),
        "cw": lambda b: evasion.CarliniL2Method(
            classifier,
            confidence=0.01,
            binary_search_steps=15,
            max_iter=15,
            batch_size=b,
            **quiet,
        ),
    }

    def run(name, batch_size, count):
        labels = victim.targets if name == "jsma" else victim.labels
        return makers[name](batch_size).generate(victim.images[:count], labels[:count])

    return {name: lambda b, n, name=name: run(name, b, n) for name in makers}


def foolbox_peers(victim, cw):
    """name -> () -> adversarial images."""
    import foolbox

    model = foolbox.TensorFlowModel(victim.model, bounds=(0, 1))
    images = tf.constant(victim.images)
    # int64: on NumPy 2 foolbox fails with int32 labels.
    goal = foolbox.criteria.Misclassification(tf.constant(victim.labels, tf.int64))
    searches, steps = cw
    bounded = {
        "fgsm": foolbox.attacks.LinfFastGradientAttack(),
        "bim": foolbox.attacks.LinfBasicIterativeAttack(rel_stepsize=0.25, steps=10),
        "pgd": foolbox.attacks.LinfPGD(rel_stepsize=1 / 30, steps=40),
    }
    nearest = {
        "deepfool": foolbox.attacks.L2DeepFoolAttack(),
        "cw": foolbox.attacks.L2CarliniWagnerAttack(searches, steps, initial_const=1.0),
    }
    peers = {
        name: lambda attack=attack: attack.run(model, images, goal, epsilon=EPSILON).numpy()
        for name, attack in bounded.items()
    }
    peers |= {
        name: lambda attack=attack: attack.run(model, images, goal).numpy()
        for name, attack in nearest.items()
    }
    return peers


def best_batch(peer, images=16, sizes=(1, 16)):
    """The batch size, of one by one, 16 and all, whose time for an image is lowest."""
    peer(images, images)  # Warms up.
    times = {size: seconds(lambda s=size: peer(s, images))[0] / images for size in sizes}
    return times


def compare(name, ours, victim, art, foolbox, rounds):
    first, _ = seconds(ours)
    targeted = ours.targeted
    found = {"attack": name, "ours": repr(ours.attack)}
    times = {"ours": [], "art": [], "foolbox": []}
    images = {}
    peers = {}
    if name in art:
        trial = best_batch(art[name])
        size = BATCH if min(trial, key=trial.get) > 1 else 1
        found["art_seconds_per_image_by_batch"] = {k: round(t, 4) for k, t in trial.items()}
        found["art_batch"] = size
        peers["art"] = lambda: art[name](size, len(victim.images))
    if name in foolbox:
        peers["foolbox"] = foolbox[name]
    for _ in range(rounds):
        for who, call in {"ours": ours, **peers}.items():
            spent, images[who] = seconds(call)
            times[who].append(spent)
    spent, _ = seconds(ours)  # Once more behind the peers, whose load may have changed the machine.
    times["ours"].append(spent)
    queries, gradients = ours.cost()
    rates = victim.pass_seconds()
    backward = "backward_of_nine" if name == "deepfool" else "backward"
    bound = queries * rates["forward"] + gradients * rates[backward]
    median = {who: statistics.median(spent) for who, spent in times.items() if spent}
    found["seconds"] = {who: round(spent, 3) for who, spent in median.items()}
    found["seconds_of_first_call"] = round(first, 3)
    found["ratio"] = {
        who: round(median[who] / median["ours"], 2) for who in median if who != "ours"
    }
    found["strength"] = {who: victim.strength(made, targeted) for who, made in images.items()}
    if name in ("fgsm", "bim"):
        found["largest_difference"] = {
            who: float(np.abs(images[who] - images["ours"]).max()) for who in peers
        }
    found["gflop"] = round((queries + gradients) * FORWARD_FLOP / 1e9, 1)
    found["gflop_per_second_of_passes"] = {
        which: round(FORWARD_FLOP / 1e9 / spent, 1) for which, spent in rates.items()
    }
    found["bound"] = round(bound, 3)
    found["share"] = round(bound / median["ours"], 3)
    print(json.dumps(found), flush=True)
    return found


def main():
    warnings.filterwarnings("ignore")  # The peers' own, of NumPy and of their tapes.
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="runs/mnist-mnist_cnn", help="has classifier.keras")
    parser.add_argument("--data_dir", default=os.environ.get("TFDS_DATA_DIR"))
    parser.add_argument("--images", type=int, default=BATCH)
    parser.add_argument("--attacks", default="fgsm,bim,pgd,deepfool,jsma,cw")
    parser.add_argument("--foolbox_cw", default="9x200", help="binary searches x steps")
    arguments = parser.parse_args()
    victim = Victim(arguments.run, arguments.data_dir, arguments.images)
    ours = {
        "fgsm": (FGSM(epsilon=EPSILON), 9),
        "bim": (BIM(epsilon=EPSILON), 9),
        "pgd": (PGD(epsilon=EPSILON), 5),
        "deepfool": (DeepFool(overshoot=1e-6), 1),  # ART's default; foolbox's is 0.02.
        "jsma": (JSMA(theta=THETA, gamma=GAMMA), 1),
        "cw": (CarliniWagnerL2(confidence=0.01), 1),  # ART's too.
    }
    art = art_peers(victim)
    foolbox = foolbox_peers(victim, [int(n) for n in arguments.foolbox_cw.split("x")])
    results = []
    for name in arguments.attacks.split(","):
        attack, rounds = ours[name]
        compared = Ours(victim, attack, targeted=name == "jsma")
        results.append(compare(name, compared, victim, art, foolbox, rounds))
    ratios = {
        f"{found['attack']}/{who}": ratio
        for found in results
        for who, ratio in found["ratio"].items()
    }
    print(
        json.dumps(
            {
                "benchmark": "attacks",
                "ours": {found["attack"]: found["seconds"]["ours"] for found in results},
                "peer": {
                    found["attack"]: {
                        who: spent for who, spent in found["seconds"].items() if who != "ours"
                    }
                    for found in results
                },
                "ratio": ratios,
                "unit": f"s for {len(victim.images)} images",
                "share_of_bound": {found["attack"]: found["share"] for found in results},
            }
        )
    )


if __name__ == "__main__":
    main()
