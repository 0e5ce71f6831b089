"""AutoAttack and each of its parts, compared with the PyTorch original on the same weights.

    .venv/bin/pip install -r benchmarks/requirements-attacks.txt
    .venv/bin/python benchmarks/auto_attack.py --data_dir=DIR --norm=linf --epsilon=0.1
    bin/train --dataset=gtsrb --image_size=32 --classifier=lenet --data_dir=DIR
    .venv/bin/python benchmarks/auto_attack.py --data_dir=DIR --dataset=gtsrb --run=runs/gtsrb-lenet \
      --norm=l2 --epsilon=0.3

Both libraries run the standard with their own defaults: 100 steps, nine target classes, 5,000
queries. They attack the same correctly classified test images, one after the other, the original in
a process of its own. For each part, and for all parts together ("standard"), the program prints the
accuracy that each library leaves and its seconds, on the clock and of processor time; ours include
compilation.

It exits with status 1 if the accuracies differ: by more than 1 point for a part, or by more than 0.4
points for the standard. Random starts differ.

With --results, finished results are kept. A comparison can then be run in pieces: --part names the
parts, --side one of the libraries. Delete a result to measure it again. --peer_python names the
Python of another environment that has PyTorch.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

PARTS = ("apgd_ce", "apgd_t", "fab_t", "square", "standard")
ALLOWED_POINTS = {part: 0.4 if part == "standard" else 1.0 for part in PARTS}
ZOO = Path(__file__).parents[1] / "tfdefense/zoo/models/apeganpp/mnist"
BATCH = 250  # The default of the original.
SETTINGS = ("activation", "padding", "strides", "pool_size", "epsilon")


class Task:
    """A classifier, correctly classified test images, and a ball, also as a file for the peer."""

    def __init__(self, arguments):
        import tensorflow as tf

        import tfdefense
        from tfdefense.training.run_directory import RunDirectory

        tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
        tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
        self.model = RunDirectory(arguments.run).load_classifier()
        self.norm, self.epsilon = arguments.norm, arguments.epsilon
        size = tuple(self.model.input_shape[1:3])
        test = tfdefense.data.load(arguments.dataset, arguments.data_dir, image_size=size).test
        test = test.take(4 * arguments.images)
        logits = self.model.predict(test.images, batch_size=BATCH, verbose=0)
        right = np.flatnonzero(np.argmax(logits, 1) == test.labels)[: arguments.images]
        if len(right) < arguments.images:
            sys.exit(f"--images: {arguments.images} given, {len(right)} are classified correctly.")
        self.images, self.labels = test.images[right], test.labels[right]
        self.arrays = {
            "settings": json.dumps(
                {"norm": self.norm, "epsilon": self.epsilon, "layers": list_layers(self.model)}
            ),
            "images": self.images,
            "labels": self.labels,
            "logits": logits[right],
            **{f"weight_{i}": weight for i, weight in enumerate(self.model.get_weights())},
        }

    def fingerprint(self):
        """Return a hash of everything that a result depends on, except the attack."""
        contents = hashlib.sha256()
        for name, array in self.arrays.items():
            contents.update(name.encode() + np.asarray(array).tobytes())
        return contents.hexdigest()[:12]

    def our_attack(self, part):
        """Return our attack of a part."""
        from tfdefense.attacks import make_attack

        name = "auto_attack" if part == "standard" else part
        extra = {"rescale_schedule": False} if part == "square" else {}
        return make_attack(name, epsilon=self.epsilon, norm=self.norm, **extra)

    def run_ours(self, part):
        """Attack with one of our attacks; return accuracy, seconds and the largest norm."""
        from tfdefense.utils.package_versions import package_versions

        attack = self.our_attack(part)
        started, started_cpu = time.perf_counter(), time.process_time()
        adversarial = np.concatenate(
            [
                attack(
                    self.model,
                    self.images[first : first + BATCH],
                    self.labels[first : first + BATCH],
                )
                for first in range(0, len(self.images), BATCH)
            ]
        )
        found = {
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(time.process_time() - started_cpu, 1),
        }
        predicted = np.argmax(self.model.predict(adversarial, batch_size=BATCH, verbose=0), 1)
        found["accuracy"] = float(np.mean(predicted == self.labels))
        order = np.inf if self.norm == "linf" else 2
        change = (adversarial - self.images).reshape(len(self.images), -1)
        found["largest_norm"] = float(np.linalg.norm(change, order, axis=1).max())
        found["versions"] = package_versions()
        return found


def list_layers(model):
    """Return the class name, the settings and the number of weights of each layer of a chain."""
    return [
        (
            type(layer).__name__,
            {name: layer.get_config().get(name) for name in SETTINGS},
            len(layer.weights),
        )
        for layer in model.layers
        if type(layer).__name__ != "InputLayer"
    ]


def run_peer(task, part, arguments):
    """Run a part of the original in its own process: threads of two frameworks slow each other."""
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
    with tempfile.TemporaryDirectory() as directory:
        arrays, result = Path(directory) / "task.npz", Path(directory) / "result.json"
        np.savez(arrays, **task.arrays)
        program = Path(__file__).with_name("auto_attack_peer.py")
        command = [arguments.peer_python, program, arrays, part, result]
        subprocess.run(command, check=True, env=environment)
        return json.loads(result.read_text())


def load_or_run(path, run, *, wanted):
    """Return the result in the file `path`; if it is missing and `wanted`, run and store it."""
    if path is not None and path.is_file():
        return json.loads(path.read_text())
    if not wanted:
        return None
    found = run()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
    return found


def compare_part(task, part, arguments):
    """Return the results of both libraries for one part, and their differences."""
    runs = {
        "peer": lambda: run_peer(task, part, arguments),
        "ours": lambda: task.run_ours(part),
    }
    found = {}
    for side, run in runs.items():
        revision = f"-{task.our_attack(part).revision}" if side == "ours" else ""
        path = arguments.results and Path(arguments.results) / (
            f"{arguments.dataset}-{arguments.norm}-{part}-{side}-{task.fingerprint()}{revision}.json"
        )
        found[side] = load_or_run(path, run, wanted=arguments.side in ("both", side))
    if None in found.values():
        return None
    for side, of_side in found.items():
        assert of_side["largest_norm"] <= arguments.epsilon + 1e-5, f"{side} left the ball"
    ours, peer = found["ours"], found["peer"]
    found["points"] = round(100 * (ours["accuracy"] - peer["accuracy"]), 2)
    for seconds, ratio in (("seconds", "ratio"), ("cpu_seconds", "cpu_ratio")):
        found[ratio] = round(peer[seconds] / ours[seconds], 2)
    print(
        f"{part:9} ours {ours['accuracy']:7.2%} peer {peer['accuracy']:7.2%} difference"
        f" {found['points']:+.2f} points, {ours['seconds']} s and {peer['seconds']} s, ratio"
        f" {found['ratio']}, processor {ours['cpu_seconds']} s and {peer['cpu_seconds']} s, ratio"
        f" {found['cpu_ratio']}",
        flush=True,
    )
    return found


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data_dir", default=os.environ.get("TFDS_DATA_DIR"))
    parser.add_argument(
        "--run", default=str(ZOO / "mnist_cnn"), help="directory with classifier.keras"
    )
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--norm", default="linf", choices=("linf", "l2"))
    parser.add_argument("--epsilon", type=float, default=0.1)
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="may be repeated (default: all)"
    )
    parser.add_argument("--side", default="both", choices=("both", "ours", "peer"))
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each library")
    parser.add_argument("--results", help="directory that keeps finished results")
    parser.add_argument(
        "--peer_python", default=sys.executable, help="Python that has torch and pyautoattack"
    )
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    task = Task(arguments)
    found = {part: compare_part(task, part, arguments) for part in arguments.part or PARTS}
    found = {part: result for part, result in found.items() if result is not None}
    apart = [part for part, result in found.items() if abs(result["points"]) > ALLOWED_POINTS[part]]
    print(
        json.dumps(
            {
                "benchmark": "auto_attack",
                "dataset": arguments.dataset,
                "classifier": task.model.name,
                "unit": f"s for {arguments.images} images, {arguments.norm} epsilon {arguments.epsilon}",
                **{
                    side: {part: result[side]["cpu_seconds"] for part, result in found.items()}
                    for side in ("ours", "peer")
                },
                "ratio": {part: result["cpu_ratio"] for part, result in found.items()},
                "parts": found,
                "apart": apart,
            }
        )
    )
    sys.exit(1 if apart else 0)


if __name__ == "__main__":
    main()
