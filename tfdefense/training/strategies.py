"""Where training runs."""

import tensorflow as tf

from tfdefense.errors import unknown_name

NAMES = ("mirrored", "one_device")


def make(name: str = "mirrored") -> tf.distribute.Strategy:
    """A `tf.distribute` strategy by name; make networks inside its `scope()`.

    Args:
      name: "mirrored" (one replica on each GPU, or one on the CPU where there is none) or
        "one_device" (the first GPU, or the CPU).

    Raises:
      UserError: unknown name.
    """
    gpus = tf.config.list_logical_devices("GPU")
    device = "GPU:0" if gpus else "CPU:0"
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(None if gpus else [device])
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(device)
    raise unknown_name("strategy", name, NAMES)
