"""Choice of the precision of a training: bfloat16 if the device computes natively and faster in it."""

import functools
import math
import time
from concurrent import futures
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfdefense.training.distribute import multi_worker
from tfdefense.training.fused_batch_norm import use_fused_batch_norm
from tfdefense.training.mixed_precision import AUTO, PRECISIONS, compute_in
from tfdefense.training.seeding import seed_layers
from tfdefense.utils.progress import print_line

# A training that shows fewer values than this takes a minute or two, and the trial several seconds.
_MIN_VALUES = 150_000_000
_MIN_RATIO = 1.1  # Least speed-up that is worth the rounding.
_CPU_INFO = Path("/proc/cpuinfo")
_CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # The last one is that of ARM.
_GPU_CAPABILITY = (8, 0)  # The first NVIDIA GPUs with bfloat16.
_BATCH, _SHAPE, _FILTERS = 16, (32, 32, 64), 64
_ROUNDS = 5


def choose_precision(given: str, image_shape: tuple[int, int, int], images: int) -> str:
    """Return "float32" or "bfloat16", in which the networks of a training compute.

    Args:
      given: one of these, which is returned; or "auto".
      image_shape: (H, W, C).
      images: number of images that the training shows, counting repetitions.

    Returns:
      For "auto": bfloat16 if the training is long, the devices of all workers compute natively in
      it, and a training step of a small convolutional network was at least 1.1 times as fast in it on
      the chief. All workers get the same.
    """
    if given != AUTO:
        return given
    if images * math.prod(image_shape) < _MIN_VALUES:
        return "float32"
    # All workers run the trial, or none: they may compute on different devices.
    native = not multi_worker.any_worker(not computes_natively())
    ratio = measure_speedup() if native else 0.0
    ratio = float(multi_worker.gather_arrays(np.array([ratio], np.float32))[0])
    precision = "bfloat16" if ratio >= _MIN_RATIO else "float32"
    reason = f"bfloat16 is {ratio:.2f} times as fast" if native else "not all devices have bfloat16"
    print_line(f"--mixed_precision=auto: {precision}, because {reason}.")
    return precision


def report_slow_precision(precision: str) -> None:
    """Print one line if a training computes in bfloat16 and a device has no instructions for it.

    All workers must call this function. The line is the same on all of them.

    Args:
      precision: "float32" or "bfloat16".
    """
    if precision != "float32" and multi_worker.any_worker(not computes_natively()):
        print_line(
            f"--mixed_precision={precision}: not all devices are known to have instructions for it."
            " Training may be slow. --mixed_precision=float32 is faster without them."
        )


def computes_natively() -> bool:
    """Return whether all devices of this process have instructions for bfloat16."""
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        details = map(tf.config.experimental.get_device_details, gpus)
        return all(each.get("compute_capability", (0, 0)) >= _GPU_CAPABILITY for each in details)
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # Another system than Linux.
        return False
    found = (line.split(":", 1)[1] for line in lines if line.startswith(("flags", "Features")))
    return bool(_CPU_FLAGS & set(next(found, "").split()))


@functools.cache
def measure_speedup() -> float:
    """Return how many times as fast a training step is in bfloat16 as in float32, on this device.

    The step is that of two convolutions with batch normalisation on [16, 32, 32, 64]. It is measured
    once in each process, in less than ten seconds; the fastest of five rounds counts.
    """
    # A new thread has no strategy. Variables of a strategy have values only inside `strategy.run`.
    with futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(_measure).result()


def _measure() -> float:
    steps = {precision: _make_step(precision) for precision in PRECISIONS}
    seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for _ in range(_ROUNDS):
        for precision, step in steps.items():
            start = time.perf_counter()
            step().numpy()
            seconds[precision].append(time.perf_counter() - start)
    return min(seconds["float32"]) / min(seconds["bfloat16"])


def _make_step(precision: str) -> tf.types.experimental.PolymorphicFunction:
    """Return a compiled training step that has run once."""
    layers = keras.layers
    with seed_layers(0):
        network = keras.Sequential(
            [
                keras.Input(_SHAPE),
                *(layers.Conv2D(_FILTERS, 3, padding="same"), layers.BatchNormalization()),
                *(layers.ReLU(), layers.Conv2D(_FILTERS, 3, padding="same")),
                *(layers.BatchNormalization(), layers.ReLU()),
            ]
        )
    images = tf.random.stateless_uniform([_BATCH, *_SHAPE], seed=[0, 0])

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(network(images, training=True), tf.float32))
        gradients = tape.gradient(loss, network.trainable_variables)
        return tf.add_n([tf.reduce_sum(gradient) for gradient in gradients])

    with compute_in([network], precision), use_fused_batch_norm([network]):
        step()
    return step
