"""The same training on one replica, on two logical replicas, and by two workers, in turn in one run.

    .venv/bin/python benchmarks/scaling.py --defense=apeganpp

Each side is APE-GAN++ (or another defence) on 28x28x1, 128 images a step in all, on the same number of cores: the two
logical replicas share the cores of one process, the two workers have half of them each. On real hardware each replica
would have a device of its own; here the ratios show what synchronising costs, not what more devices give. Sides take
turns; the fastest of each side's rounds counts. The last line is one JSON object.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

BATCH = 128  # Of train_step.py, which is imported where TensorFlow may be.
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


class Side:
    """Processes that train together when they are told to."""

    def __init__(self, kind, defense, cores):
        count = 2 if kind == "two workers" else 1
        addresses = [f"localhost:{port}" for port in free_ports(count)]
        self.processes = [
            subprocess.Popen(
                [sys.executable, __file__, f"--side={kind}", f"--defense={defense}"],
                env={
                    **os.environ,
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                    "TF_NUM_INTRAOP_THREADS": str(max(1, cores // count)),
                    "TF_CONFIG": json.dumps(
                        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}}
                    ),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for i in range(count)
        ]

    def seconds(self, steps):
        for process in self.processes:
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
        return max(self.answer(process) for process in self.processes)

    @staticmethod
    def answer(process):
        for line in process.stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise RuntimeError(f"{process.args}: ended")

    def end(self):
        for process in self.processes:
            process.kill()


def free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def train_when_told(kind, defense):
    """A side's process: reads numbers of steps, trains so many, and says how long they took."""
    import tensorflow as tf
    from train_step import Ours

    from tfdefense.training.distribute import strategies

    if kind == "two replicas":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = strategies.make_strategy("multi_worker" if kind == "two workers" else "one_device")
    with strategy.scope():
        ours = Ours(defense)
        for line in sys.stdin:
            print(f"seconds {ours.seconds(int(line))}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--defense", default="apeganpp", choices=("apeganpp", "apegan", "cgan"))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--side", help="for the processes that this one starts")
    arguments = parser.parse_args()
    if arguments.side:
        train_when_told(arguments.side, arguments.defense)
        return
    cores = os.cpu_count()
    kinds = ("one replica", "two replicas", "two workers")
    sides = {kind: Side(kind, arguments.defense, cores) for kind in kinds}
    for side in sides.values():
        side.seconds(2)
    best = dict.fromkeys(kinds, float("inf"))
    for number in range(arguments.rounds):
        for kind, side in sides.items():
            best[kind] = min(best[kind], side.seconds(arguments.steps))
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
    for side in sides.values():
        side.end()
    rates = {kind: arguments.steps * BATCH / seconds for kind, seconds in best.items()}
    result = {
        "benchmark": "scaling",
        "defense": arguments.defense,
        "cores": cores,
        "images_per_second": {kind: round(rate, 1) for kind, rate in rates.items()},
        "ratio_to_one_replica": {
            kind: round(rate / rates["one replica"], 3) for kind, rate in rates.items()
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
