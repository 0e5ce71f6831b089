"""Soak test: kill a small training many times at random moments, and compare the result.

    .venv/bin/python tests/soak/kill_resume.py --defense=apeganpp --kills=20

Runs `bin/train` once without interruption. Then runs it in another directory: kills it with SIGKILL
a random time after its first checkpoint (every second time while it writes a checkpoint), runs the
same command again, and lets it finish after the last kill. Weights, optimizer slots, validation
metrics and predictions must be bit-identical. The last line is one JSON object. The exit status is
1 if anything differs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

# Runs the command with a checkpoint after every two steps.
EAGER = """
import sys
from tfdefense.cli.main import main
from tfdefense.training import LoopConfig
original = LoopConfig.__post_init__
def eager(self):
    object.__setattr__(self, "checkpoint_seconds", 0.0)
    object.__setattr__(self, "steps_per_loop", 2)
    original(self)
LoopConfig.__post_init__ = eager
sys.exit(main(sys.argv[1:]))
"""


def command(run, arguments):
    """Return the command that trains into `run`."""
    flags = [
        *(f"--defense={arguments.defense}", f"--epochs={arguments.epochs}", f"--run={run}"),
        *("--batch_size=64", f"--mixed_precision={arguments.mixed_precision}"),
        *("--attacks=fgsm", "--images=50", "--white_box_images=5"),
    ]
    if arguments.classifier:
        flags.append(f"--classifier={Path(arguments.classifier).resolve()}")
    return [sys.executable, "-c", EAGER, "train", *flags]


def start_training(run, arguments, place, log):
    """Start the training as a process."""
    return subprocess.Popen(
        command(run, arguments), cwd=place, env=ENVIRONMENT, stdout=log, stderr=log
    )


def finish(run, arguments, place, log):
    """Run the training to its end; raise an error if it fails."""
    process = start_training(run, arguments, place, log)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, process.args)


def load_results(run):
    """Return all results of a training, name -> array."""
    import numpy as np
    import tensorflow as tf

    indices = (run / "checkpoints").glob("ckpt-*.index")
    newest = max(indices, key=lambda index: int(index.stem.removeprefix("ckpt-")))
    reader = tf.train.load_checkpoint(str(newest.with_suffix("")))
    names = [n for n in reader.get_variable_to_shape_map() if "seconds" not in n and n[0] != "_"]
    found = {name: reader.get_tensor(name) for name in names}
    from tfdefense.evaluation.report.training_curves import load_training_curves
    from tfdefense.training.run_directory import RunDirectory

    for tag, (steps, values) in load_training_curves(RunDirectory(run)).items():
        if tag.startswith("validation/"):
            found[tag] = np.stack([steps, values])
    with np.load(run / "predictions.npz") as predictions:
        found.update({f"predictions/{name}": predictions[name] for name in predictions.files})
    return found


def train_with_kills(run, arguments, place, log):
    """Train into `run` with kills; return the numbers of kills and of partly written files."""
    rng, killed, partial = random.Random(arguments.seed), 0, 0
    while killed < arguments.kills:
        process = start_training(run, arguments, place, log)
        checkpoints = run / "checkpoints"
        before = steps_done(checkpoints)
        while process.poll() is None and steps_done(checkpoints) == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, arguments.most_seconds))
        if killed % 2:  # Every second kill happens during a write.
            while process.poll() is None and not is_writing(checkpoints):
                time.sleep(0.001)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
        partial += is_writing(checkpoints)
        print(f"kill {killed}: step {steps_done(checkpoints)}", file=sys.stderr, flush=True)
    finish(run, arguments, place, log)
    return killed, partial


def is_writing(checkpoints):
    """Return true if a checkpoint is only partly written."""
    return any("temp" in path.name for path in checkpoints.iterdir())


def steps_done(checkpoints):
    """Return the step of the newest complete checkpoint."""
    found = [int(path.stem.removeprefix("ckpt-")) for path in checkpoints.glob("ckpt-*.index")]
    return max(found, default=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--defense", default="apeganpp")
    parser.add_argument("--mixed_precision", default="float32", help="flag of bin/train")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--most_seconds", type=float, default=2.0, help="longest time from a checkpoint to a kill"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random times")
    parser.add_argument("--classifier", help="flag of bin/train (default: train one first)")
    arguments = parser.parse_args()
    import numpy as np

    with tempfile.TemporaryDirectory() as place, open(Path(place) / "log", "w") as log:
        place = Path(place)
        uninterrupted, interrupted = place / "whole", place / "pieces"
        finish(uninterrupted, arguments, place, log)
        killed, partial = train_with_kills(interrupted, arguments, place, log)
        expected, found = load_results(uninterrupted), load_results(interrupted)
        different = sorted(expected.keys() ^ found.keys())
        common = expected.keys() & found.keys()
        different += [n for n in sorted(common) if not np.array_equal(expected[n], found[n])]
    result = {
        "soak": "kill_resume",
        "defense": arguments.defense,
        "mixed_precision": arguments.mixed_precision,
        "kills": killed,
        "kills_in_a_write": partial,
        "compared": len(common),
        "differences": different,
    }
    print(json.dumps(result))
    return 1 if different or killed < arguments.kills else 0


if __name__ == "__main__":
    sys.exit(main())
