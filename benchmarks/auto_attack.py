"""APGD-CE, APGD-DLR, APGD-T, FAB-T and Square, compared with the PyTorch originals.

    .venv/bin/pip install -r benchmarks/requirements-attacks.txt
    .venv/bin/python benchmarks/auto_attack.py --run=runs/mnist-mnist_cnn

For each attack it prints the accuracy after the attack on the same weights and the same correctly
classified MNIST test images, and the seconds, of both libraries.
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

PEERS = {
    "apgd_ce": "apgd-ce",
    "apgd_dlr": "apgd-dlr",
    "apgd_t": "apgd-t",
    "fab_t": "fab-t",
    "square": "square",
}


def run_ours(arguments, weights):
    """Run our attacks; save weights and images to the file `weights` for the peer."""
    import tfdefense
    from tfdefense.attacks import make_attack
    from tfdefense.training.run_directory import RunDirectory

    model = RunDirectory(arguments.run).load_classifier()
    test = tfdefense.data.load("mnist", arguments.data_dir).test
    logits = model.predict(test.images[: 2 * arguments.images], batch_size=128, verbose=0)
    right = np.flatnonzero(np.argmax(logits, 1) == test.labels[: 2 * arguments.images])
    images, labels = (array[right[: arguments.images]] for array in (test.images, test.labels))
    np.savez(weights, *model.get_weights(), images=images, labels=labels)
    found = {}
    for name in arguments.attacks.split(","):
        extra = {"queries": arguments.queries} if name == "square" else {}
        attack = make_attack(name, epsilon=arguments.epsilon, norm=arguments.norm, **extra)
        attack(model, images[:2], labels[:2])  # Compiles the attack.
        started = time.perf_counter()
        adversarial = attack(model, images, labels).numpy()
        seconds = time.perf_counter() - started
        change = (adversarial - images).reshape(len(images), -1)
        order = np.inf if arguments.norm == "linf" else 2
        assert np.linalg.norm(change, order, axis=1).max() <= arguments.epsilon + 1e-5
        accuracy = np.mean(np.argmax(model.predict(adversarial, verbose=0), 1) == labels)
        found[name] = {"accuracy": float(accuracy), "seconds": round(seconds, 2)}
        print(f"ours  {name}: {found[name]}", flush=True)
    return found


def run_peer(arguments, weights):
    """Run the PyTorch originals, in their own process: threads of two frameworks slow each other."""
    import torch
    from pyautoattack import AutoAttack

    arrays = np.load(weights)
    conv1, bias1, conv2, bias2, dense, bias3, out, bias4 = (
        torch.tensor(arrays[f"arr_{i}"]) for i in range(8)
    )

    def model(x):
        x = torch.relu(torch.conv2d(x, conv1.permute(3, 2, 0, 1), bias1))
        x = torch.relu(torch.conv2d(x, conv2.permute(3, 2, 0, 1), bias2))
        x = torch.max_pool2d(x, 6).permute(0, 2, 3, 1).flatten(1)
        return (x @ dense + bias3) @ out + bias4

    images = torch.tensor(arrays["images"]).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor(arrays["labels"]).long()
    assert (model(images).argmax(1) == labels).all(), "the networks differ"
    found = {}
    for name in arguments.attacks.split(","):
        theirs, norm = PEERS[name], {"linf": "Linf", "l2": "L2"}[arguments.norm]
        attack = AutoAttack(
            model, norm=norm, eps=arguments.epsilon, version="custom", attacks=[theirs], seed=0
        )
        attack.verbose = False
        attack.apgd.n_restarts = attack.fab.n_restarts = 1  # As in the standard version and here.
        attack.square.n_queries = arguments.queries
        # To the number of queries, as in the paper and here.
        attack.square.rescale_schedule = True
        started = time.perf_counter()
        adversarial, _ = attack.run_standard_evaluation(images, labels)
        seconds = time.perf_counter() - started
        accuracy = (model(adversarial).argmax(1) == labels).float().mean()
        found[name] = {"accuracy": float(accuracy), "seconds": round(seconds, 2)}
        print(f"peer  {name}: {found[name]}", file=sys.stderr, flush=True)
    print(json.dumps(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--run", default="runs/mnist-mnist_cnn", help="run directory with classifier.keras"
    )
    parser.add_argument("--data_dir", default=os.environ.get("TFDS_DATA_DIR"))
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--epsilon", type=float, default=0.1)
    parser.add_argument("--queries", type=int, default=1_000, help="of Square")
    parser.add_argument("--attacks", default=",".join(PEERS))
    parser.add_argument("--norm", default="linf", choices=("linf", "l2"))
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        return run_peer(arguments, arguments.peer)
    with tempfile.TemporaryDirectory() as directory:
        weights = Path(directory) / "weights.npz"
        ours = run_ours(arguments, weights)
        again = [sys.executable, __file__, *sys.argv[1:], "--peer", str(weights)]
        output = subprocess.run(again, check=True, stdout=subprocess.PIPE, text=True).stdout
    peer = json.loads(output.splitlines()[-1])
    result = {
        "benchmark": "auto_attack",
        "ours": ours,
        "peer": peer,
        "ratio": {name: round(peer[name]["seconds"] / ours[name]["seconds"], 2) for name in ours},
        "accuracy_difference": {
            name: round(ours[name]["accuracy"] - peer[name]["accuracy"], 4) for name in ours
        },
        "unit": f"s for {arguments.images} images, {arguments.norm} epsilon {arguments.epsilon}",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
