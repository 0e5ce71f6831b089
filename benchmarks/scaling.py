"""The same training on one replica, on several replicas of one process, and by two workers.

    .venv/bin/python benchmarks/scaling.py                          # APE-GAN++, float32
    .venv/bin/python benchmarks/scaling.py --training=color_purifier --precision=bfloat16

Each configuration trains on 128 images per step in total, on the same number of cores:

- one replica: all cores work on one operation at a time;
- two replicas: they share all threads of one process;
- per core: one replica on each core, with one thread (`--strategy=per_core`);
- own statistics: the same, but batch normalisation has the statistics of its replica alone. Results
  differ; this is the most that a faster synchronisation could reach;
- two workers: each has half of the cores to itself.

On real hardware each replica has its own device. Here the ratios show the cost of synchronisation,
not the gain from more devices. The configurations run in turn, and the fastest round of each counts.
The last line is one JSON object.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
from unittest import mock

import tensorflow as tf
from our_training import BATCH, TRAININGS, OurTraining

from tfdefense.training import Trainer
from tfdefense.training.distribute.strategies import make_strategy
from tfdefense.utils.huge_pages import use_huge_pages

STRATEGY_OF = {
    "one replica": "mirrored",
    "per core": "per_core",
    "own statistics": "per_core",
    "two workers": "multi_worker",
}


class Configuration:
    """Processes that train together."""

    def __init__(self, kind, training, precision, cores):
        count = 2 if kind == "two workers" else 1
        own = sorted(os.sched_getaffinity(0))
        size = max(1, cores // count)
        addresses = [f"localhost:{port}" for port in free_ports(count)]
        self.processes = [
            subprocess.Popen(
                [
                    *(sys.executable, __file__, f"--side={kind}"),
                    *(f"--training={training}", f"--precision={precision}"),
                ],
                env={
                    **os.environ,
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                    "TF_NUM_INTRAOP_THREADS": str(size),
                    "TF_CONFIG": json.dumps(
                        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}}
                    ),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                preexec_fn=lambda i=i: os.sched_setaffinity(0, own[i * size : (i + 1) * size]),
            )
            for i in range(count)
        ]

    def seconds(self, steps):
        """Train `steps` steps in all processes; return the longest time."""
        for process in self.processes:
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
        return max(self.read_seconds(process) for process in self.processes)

    @staticmethod
    def read_seconds(process):
        for line in process.stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise RuntimeError(f"{process.args}: the process ended")

    def end(self):
        for process in self.processes:
            process.kill()


def free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def serve_training(kind, training, precision):
    """Read numbers of steps from standard input, train, and print the seconds of each."""
    if kind == "two replicas":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = make_strategy(STRATEGY_OF[kind])
    with contextlib.ExitStack() as stack:
        if kind == "own statistics":
            stack.enter_context(
                mock.patch(
                    f"{Trainer.__module__}.use_global_batch", return_value=contextlib.nullcontext()
                )
            )
        stack.enter_context(strategy.scope())
        ours = OurTraining(training, precision)
        for line in sys.stdin:
            print(f"seconds {ours.seconds(int(line))}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", default="apeganpp", choices=TRAININGS)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--side", help="internal: the configuration of a child process")
    arguments = parser.parse_args()
    if arguments.side:
        use_huge_pages()
        serve_training(arguments.side, arguments.training, arguments.precision)
        return
    cores = len(os.sched_getaffinity(0))
    kinds = ("one replica", "two replicas", "per core", "own statistics", "two workers")
    settings = (arguments.training, arguments.precision, cores)
    configurations = {kind: Configuration(kind, *settings) for kind in kinds}
    best = dict.fromkeys(kinds, float("inf"))
    try:
        for configuration in configurations.values():
            configuration.seconds(2)
        for number in range(arguments.rounds):
            for kind, configuration in configurations.items():
                best[kind] = min(best[kind], configuration.seconds(arguments.steps))
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
    finally:
        for configuration in configurations.values():
            configuration.end()
    rates = {kind: arguments.steps * BATCH / seconds for kind, seconds in best.items()}
    result = {
        "benchmark": "scaling",
        "training": arguments.training,
        "precision": arguments.precision,
        "cores": cores,
        "images_per_second": {kind: round(rate, 1) for kind, rate in rates.items()},
        "ratio_to_one_replica": {
            kind: round(rate / rates["one replica"], 3) for kind, rate in rates.items()
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
