"""Kills a small training again and again, at random moments, and compares what it ends with.

    .venv/bin/python tests/soak/kill_resume.py --defense=apeganpp --kills=20

Runs `bin/train` once unbroken; then in another directory, killed with SIGKILL after a random time, as soon as
there is something to lose, and every second time in the middle of writing a checkpoint; and started again by the
same command, until it has been killed so often and has finished.
Weights, optimizer slots, validation metrics and predictions must be bit-identical. The last line is one JSON
object; the exit status is 1 if anything differs.
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

# Stands before the command: checkpoints as often as can be.
EAGER = """
import sys
import tfdefense.training.trainer as trainer
from tfdefense.cli.main import main
original = trainer.LoopConfig.__post_init__
def eager(self):
    object.__setattr__(self, "checkpoint_seconds", 0.0)
    object.__setattr__(self, "steps_per_loop", 2)
    original(self)
trainer.LoopConfig.__post_init__ = eager
sys.exit(main(sys.argv[1:]))
"""


def command(run, arguments):
    """`bin/train` into `run`, with a checkpoint after every two steps."""
    flags = [
        *(f"--defense={arguments.defense}", f"--epochs={arguments.epochs}", f"--run={run}"),
        *("--batch_size=64", "--attacks=fgsm", "--images=50", "--white_box_images=5"),
    ]
    if arguments.classifier:
        flags.append(f"--classifier={Path(arguments.classifier).resolve()}")
    return [sys.executable, "-c", EAGER, "train", *flags]


def started(run, arguments, place, log):
    """That training as a process."""
    return subprocess.Popen(
        command(run, arguments), cwd=place, env=ENVIRONMENT, stdout=log, stderr=log
    )


def finish(run, arguments, place, log):
    """That training, left alone; raises if it fails."""
    process = started(run, arguments, place, log)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, process.args)


def outcome(run):
    """Name -> array or value of all that training left."""
    import numpy as np
    import tensorflow as tf

    newest = tf.train.latest_checkpoint(str(run / "checkpoints"))
    reader = tf.train.load_checkpoint(newest)
    names = [n for n in reader.get_variable_to_shape_map() if "seconds" not in n and n[0] != "_"]
    found = {name: reader.get_tensor(name) for name in names if "save_counter" not in name}
    from tfdefense.evaluation.report.training_curves import load_training_curves
    from tfdefense.training.run_directory import RunDirectory

    for tag, (steps, values) in load_training_curves(RunDirectory(run)).items():
        if tag.startswith("validation/"):
            found[tag] = np.stack([steps, values])
    with np.load(run / "predictions.npz") as kept:
        found.update({f"predictions/{name}": kept[name] for name in kept.files})
    return found


def broken(run, arguments, place, log):
    """Trains into `run` with kills; how many fell into the training, and how many of those left a half-written file."""
    rng, killed, half_written = random.Random(arguments.seed), 0, 0
    while killed < arguments.kills:
        process = started(run, arguments, place, log)
        checkpoints = run / "checkpoints"
        before = steps_done(checkpoints)
        while process.poll() is None and steps_done(checkpoints) == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, arguments.most_seconds))
        if killed % 2:  # Every second one dies while it writes.
            while process.poll() is None and not being_written(checkpoints):
                time.sleep(0.001)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
        half_written += being_written(checkpoints)
        print(f"kill {killed}: step {steps_done(checkpoints)}", file=sys.stderr, flush=True)
    finish(run, arguments, place, log)
    return killed, half_written


def being_written(checkpoints):
    """Whether there is a checkpoint that has not got its name yet."""
    return any("temp" in path.name for path in checkpoints.iterdir())


def steps_done(checkpoints):
    """Of the newest whole checkpoint."""
    found = [int(path.stem.removeprefix("ckpt-")) for path in checkpoints.glob("ckpt-*.index")]
    return max(found, default=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--defense", default="apeganpp")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--most_seconds", type=float, default=2.0, help="of training between kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--classifier", help="of bin/train (default: trained first)")
    arguments = parser.parse_args()
    import numpy as np

    with tempfile.TemporaryDirectory() as place, open(Path(place) / "log", "w") as log:
        place = Path(place)
        whole, pieces = place / "whole", place / "pieces"
        finish(whole, arguments, place, log)
        killed, half_written = broken(pieces, arguments, place, log)
        expected, found = outcome(whole), outcome(pieces)
        different = sorted(expected.keys() ^ found.keys())
        common = expected.keys() & found.keys()
        different += [n for n in sorted(common) if not np.array_equal(expected[n], found[n])]
    result = {
        "soak": "kill_resume",
        "defense": arguments.defense,
        "kills": killed,
        "kills_in_a_write": half_written,
        "compared": len(common),
        "differences": different,
    }
    print(json.dumps(result))
    return 1 if different or killed < arguments.kills else 0


if __name__ == "__main__":
    sys.exit(main())
