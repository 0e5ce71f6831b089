"""Position of this process among the workers of the current `tf.distribute` strategy.

A worker is one process. Without `tf.distribute.MultiWorkerMirroredStrategy` there is one worker.
"""

import tensorflow as tf


def worker_count() -> int:
    """Return the number of workers."""
    resolver = _resolver()
    if resolver is None:
        return 1
    cluster = resolver.cluster_spec().as_dict()
    return sum(len(cluster.get(job, ())) for job in ("chief", "worker"))


def worker_index() -> int:
    """Return the index of this worker, from 0."""
    resolver = _resolver()
    if resolver is None:
        return 0
    chiefs = len(resolver.cluster_spec().as_dict().get("chief", ()))
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)


def local_replicas() -> int:
    """Return the number of replicas in this worker: one per device."""
    return tf.distribute.get_strategy().num_replicas_in_sync // worker_count()


def is_chief() -> bool:
    """Return true in the chief: worker 0, the only worker that writes files."""
    return worker_index() == 0


def _resolver() -> tf.distribute.cluster_resolver.ClusterResolver | None:
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return None
    resolver = strategy.cluster_resolver
    return resolver if resolver.cluster_spec().as_dict() else None
