"""AutoAttack and each of its parts, compared with the PyTorch original on the same weights.

    .venv/bin/pip install -r benchmarks/requirements-attacks.txt
    .venv/bin/python benchmarks/auto_attack.py --data_dir=DIR --norm=linf --epsilon=0.1
    bin/train --dataset=gtsrb --image_size=32 --classifier=lenet --data_dir=DIR
    .venv/bin/python benchmarks/auto_attack.py --data_dir=DIR --dataset=gtsrb --run=runs/gtsrb-lenet \
      --norm=l2 --epsilon=0.3
    .venv/bin/python benchmarks/auto_attack.py --data_dir=DIR --epsilon=0.3 \
      --pretrained=robust_purifier/mnist/mnist_cnn --surrogate=softplus_0.3

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

With --pretrained, both attack a purifier of the package and its frozen classifier together. If the
purifier has thresholds, both use the gradient of --surrogate alone. Before each attack, logits and
input gradients of both networks are compared; --networks_only stops after that.
"""

import argparse
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
from auto_attack_task import BATCH, load_task, predict

from tfdefense.attacks import make_attack
from tfdefense.networks.pixel_thresholds import SURROGATES
from tfdefense.utils.package_versions import package_versions

PARTS = ("apgd_ce", "apgd_t", "fab_t", "square", "standard")
ALLOWED_POINTS = {part: 0.4 if part == "standard" else 1.0 for part in PARTS}
ZOO = Path(__file__).parents[1] / "tfdefense/zoo/models/apeganpp/mnist/mnist_cnn"


def our_attack(task, part):
    """Return our attack of a part."""
    name = "auto_attack" if part == "standard" else part
    extra = {"rescale_schedule": False} if part == "square" else {}
    return make_attack(name, epsilon=task.epsilon, norm=task.norm, **extra)


def run_ours(task, part):
    """Attack with one of our attacks; return accuracy, seconds and the largest norm."""
    attack, count = our_attack(task, part), len(task.images)
    batches = [slice(first, first + BATCH) for first in range(0, count, BATCH)]
    started, started_cpu = time.perf_counter(), time.process_time()
    with task.surrogates():
        adversarial = np.concatenate(
            [attack(task.model, task.images[batch], task.labels[batch]) for batch in batches]
        )
    found = {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - started_cpu, 1),
    }
    predicted = np.argmax(predict(task.model, adversarial), 1)
    found["accuracy"] = float(np.mean(predicted == task.labels))
    order = np.inf if task.norm == "linf" else 2
    change = (adversarial - task.images).reshape(count, -1)
    found["largest_norm"] = float(np.linalg.norm(change, order, axis=1).max())
    found["versions"] = package_versions()
    return found


def run_peer(task, part, arguments):
    """Run a part of the original in its own process: threads of two frameworks slow each other."""
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
    with tempfile.TemporaryDirectory() as directory:
        arrays, result = Path(directory) / "task.npz", Path(directory) / "result.json"
        task.save(arrays)
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
        "ours": lambda: run_ours(task, part),
    }
    found = {}
    for side, run in runs.items():
        revision = f"-{our_attack(task, part).revision}" if side == "ours" else ""
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
    parser.add_argument("--dataset", help="default: mnist")
    parser.add_argument("--data_dir", default=os.environ.get("TFDS_DATA_DIR"))
    parser.add_argument("--run", help=f"directory with classifier.keras (default: {ZOO})")
    parser.add_argument(
        "--pretrained", help="purifier of the package before its classifier, in place of --run"
    )
    parser.add_argument(
        "--surrogate", choices=SURROGATES.names, help="gradient of its thresholds (default: leaky)"
    )
    parser.add_argument(
        "--networks_only", action="store_true", help="compare logits and gradients, do not attack"
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
    arguments = parser.parse_args()
    if arguments.pretrained is not None:
        for name in ("dataset", "run"):
            if getattr(arguments, name) is not None:
                parser.error(f"--{name}: --pretrained has its own. Leave it out.")
        arguments.dataset = arguments.pretrained.partition("/")[2].partition("/")[0]
    arguments.dataset, arguments.run = arguments.dataset or "mnist", arguments.run or str(ZOO)
    return arguments


def main():
    arguments = parse_arguments()
    task = load_task(arguments)
    if arguments.networks_only:
        found = run_peer(task, "none", arguments)["differences"]
        print(
            f"Largest difference of logits {found['logits']:.1e}, and of input gradients"
            f" {found['gradients']:.1e} of the largest of their image."
        )
        print(json.dumps({"benchmark": "auto_attack", "networks": task.name, "differences": found}))
        return
    found = {part: compare_part(task, part, arguments) for part in arguments.part or PARTS}
    found = {part: result for part, result in found.items() if result is not None}
    apart = [part for part, result in found.items() if abs(result["points"]) > ALLOWED_POINTS[part]]
    print(
        json.dumps(
            {
                "benchmark": "auto_attack",
                "dataset": arguments.dataset,
                "classifier": task.name,
                "purifier": arguments.pretrained,
                "surrogate": task.surrogate,
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
