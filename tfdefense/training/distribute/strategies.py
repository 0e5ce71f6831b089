"""`tf.distribute` strategies by name: on which devices the replicas of a training are."""

import functools
import os
import re
import signal
import textwrap
import threading

import tensorflow as tf

from tfdefense.errors import UserError, require, unknown_name
from tfdefense.training.distribute import multi_worker
from tfdefense.training.distribute.rendezvous import wait_for_addresses
from tfdefense.utils.interruptible_wait import interruptible_wait
from tfdefense.utils.json_types import typed_value
from tfdefense.utils.processors import usable_cores
from tfdefense.utils.progress import print_line
from tfdefense.utils.untrusted_file import parse_json

STRATEGIES = ("mirrored", "one_device", "per_core", "multi_worker")
_JOBS = ("chief", "worker")
# Batches are powers of two, or multiples of 8, and each replica has a copy of weights and graph.
_MAX_CPU_REPLICAS = 8
_EXAMPLE = """'{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'"""


def check_strategy(name: str) -> str:
    """Return `name`; raise `UserError` if there is no such strategy."""
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    return name


def make_strategy(name: str = "mirrored") -> tf.distribute.Strategy:
    """Return a `tf.distribute` strategy; create networks inside its `scope()`.

    Args:
      name: "mirrored": one replica on each GPU, or one on the CPU if there is no GPU.
        "one_device": the first GPU, or the CPU.
        "per_core": one replica on each core of the CPU that this process may use. Each computes an
        operation with one thread, so the cores wait for each other once in a step, and not in every
        operation. The number of replicas is a power of two, at most 8, and they share the cores. GPUs
        are not used. Call it before any other TensorFlow operation.
        "multi_worker": one replica on each GPU (or on the CPU) of every process that `TF_CONFIG`
        lists. Call it before any other TensorFlow operation. It returns when all processes have
        started.

    Raises:
      UserError: an unknown name, an invalid `TF_CONFIG`, a port that is in use, or "per_core" after
        the first TensorFlow operation.
      PreemptedError: SIGTERM arrived while this worker waited for the others.
    """
    if check_strategy(name) == "multi_worker":
        return _make_multi_worker_strategy()
    if name == "per_core":
        return _make_per_core_strategy()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored":
        # One replica needs no mirrored variables: see docs/results/speed.md.
        return tf.distribute.MirroredStrategy() if gpus else tf.distribute.get_strategy()
    return tf.distribute.OneDeviceStrategy("GPU:0" if gpus else "CPU:0")


@functools.cache  # A second strategy would reuse the collective keys of the first.
def _make_per_core_strategy() -> tf.distribute.Strategy:
    cores = usable_cores()
    replicas = min(_MAX_CPU_REPLICAS, 2 ** (cores.bit_length() - 1))
    if replicas == 1:
        return tf.distribute.get_strategy()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(cores // replicas)
        tf.config.set_visible_devices([], "GPU")
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * replicas,
        )
    except RuntimeError:
        raise UserError(
            "--strategy=per_core: TensorFlow has started already. Make this strategy before the first"
            " operation."
        ) from None
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)])


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    is_number = port.isascii() and port.isdecimal() and len(port) < 6
    has_host = re.fullmatch(r"[0-9A-Za-z._:\[\]-]+", host) is not None
    return has_host and is_number and 0 < int(port) < 2**16


def _make_multi_worker_strategy() -> tf.distribute.Strategy:
    cluster, job, index = _parse_tf_config(os.environ.get("TF_CONFIG", ""))
    addresses = [address for known in _JOBS for address in cluster.get(known, ())]
    print_line(
        f"{job} {index} of {len(addresses)} workers ({cluster[job][index]}): waiting for all"
        f" workers: {', '.join(addresses)}."
    )
    own = cluster[job][index]
    wait_for_addresses(own, [each for each in addresses if each != own])
    sigterm = signal.getsignal(signal.SIGTERM)
    with interruptible_wait(f"all workers ({', '.join(addresses)})", grace=1.0):
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        if sigterm is not None and threading.current_thread() is threading.main_thread():
            # TensorFlow replaces the handler by one that does nothing.
            signal.signal(signal.SIGTERM, sigterm)
        with strategy.scope():
            multi_worker.wait_for_workers()
    return strategy


def _parse_tf_config(text: str) -> tuple[dict[str, list[str]], str, int]:
    """Return the cluster (job -> addresses), and the job and index of this process."""
    prefix = "--strategy=multi_worker: TF_CONFIG"
    require(text, f"{prefix} is not set. Set it to JSON such as {_EXAMPLE}.")
    try:
        content = parse_json(text)
        cluster = {
            typed_value(name, str): list(typed_value(addresses, tuple[str, ...]))
            for name, addresses in typed_value(content["cluster"], dict).items()
        }
        job, index = typed_value(content["task"]["type"], str), int(content["task"]["index"])
        sizes = {name: len(addresses) for name, addresses in cluster.items()}
        malformed = [each for names in cluster.values() for each in names if not _is_address(each)]
    except (ValueError, KeyError, TypeError, AttributeError):
        shown = textwrap.shorten(text, 200, placeholder=" ...")
        raise UserError(
            f"{prefix}={shown} is invalid. Set it to JSON such as {_EXAMPLE}."
        ) from None
    require(not malformed, f"{prefix}: the address {malformed[:1]} given; HOST:PORT is needed.")
    everyone = [each for names in cluster.values() for each in names]
    require(len(set(everyone)) == len(everyone), f"{prefix}: an address is given twice.")
    for name in (*sizes, job):
        if name not in _JOBS:
            raise unknown_name("job in TF_CONFIG", name, _JOBS)
    chiefs, tasks = sizes.get("chief", 1), sizes.get(job, 0)
    require(chiefs == 1, f"{prefix}: {chiefs} chiefs given, exactly 1 needed.")
    require(
        0 <= index < tasks,
        f"{prefix}: task {job} {index} given, but the cluster has {tasks} of this job: 0 to"
        f" {tasks - 1} needed.",
    )
    return cluster, job, index
