"""Where training runs: one device, all of a machine's, or those of several machines."""

import json
import os

import tensorflow as tf

from tfdefense.errors import require, unknown_name
from tfdefense.training.distribute import multi_worker
from tfdefense.utils.progress import say

NAMES = ("mirrored", "one_device", "multi_worker")
_JOBS = ("chief", "worker")


def make(name: str = "mirrored") -> tf.distribute.Strategy:
    """A `tf.distribute` strategy by name; make networks inside its `scope()`.

    Args:
      name: "mirrored" (one replica on each GPU, or one on the CPU where there is none), "one_device" (the first
        GPU, or the CPU), or "multi_worker" (one replica on each GPU of each of the processes that `TF_CONFIG`
        lists, or on the CPU of each). The last one must be made before TensorFlow has done anything else, and
        returns when all of the processes are there.

    Raises:
      UserError: unknown name, or a `TF_CONFIG` that will not do.
    """
    if name == "multi_worker":
        return _multi_worker()
    gpus = tf.config.list_logical_devices("GPU")
    device = "GPU:0" if gpus else "CPU:0"
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(None if gpus else [device])
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(device)
    raise unknown_name("strategy", name, NAMES)


def _multi_worker() -> tf.distribute.Strategy:
    cluster, job, index = _cluster(os.environ.get("TF_CONFIG", ""))
    addresses = [address for known in _JOBS for address in cluster.get(known, ())]
    say(f"{job} {index} of {len(addresses)} workers ({cluster[job][index]}); waiting for all.")
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        multi_worker.wait_for_all()
    return strategy


def _cluster(text: str) -> tuple[dict[str, list[str]], str, int]:
    """The cluster, and this process' job and index, that `TF_CONFIG` tells of."""
    example = """'{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'"""
    prefix = "--strategy=multi_worker: TF_CONFIG"
    require(bool(text), f"{prefix} is not set; such as {example} needed.")
    try:
        found = json.loads(text)
        cluster, job, index = found["cluster"], found["task"]["type"], int(found["task"]["index"])
        sizes = {name: len(addresses) for name, addresses in cluster.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        require(False, f"{prefix}={text}: such as {example} needed.")
    for name in (*sizes, job):
        if name not in _JOBS:
            raise unknown_name("job in TF_CONFIG", name, _JOBS)
    require(sizes.get("chief", 1) == 1, f"{prefix}: {sizes.get('chief')} chiefs, one needed.")
    require(
        0 <= index < sizes.get(job, 0),
        f"{prefix}: task {job} {index} of {sizes.get(job, 0)} in the cluster; 0 to {sizes.get(job, 0) - 1} needed.",
    )
    return cluster, job, index
