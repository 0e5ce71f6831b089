"""The events that TensorFlow's profiler recorded."""

import contextlib
import glob
import tempfile

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2


@contextlib.contextmanager
def record_events():
    """Record the block; afterwards the returned list has (name, seconds) for each event."""
    events = []
    with tempfile.TemporaryDirectory() as trace:
        tf.profiler.experimental.start(trace)
        try:
            yield events
        finally:
            tf.profiler.experimental.stop()
        path = max(glob.glob(f"{trace}/**/*.xplane.pb", recursive=True))
        with open(path, "rb") as file:
            planes = xplane_pb2.XSpace.FromString(file.read()).planes
    events.extend(
        (plane.event_metadata[event.metadata_id].name, event.duration_ps / 1e12)
        for plane in planes
        for line in plane.lines
        for event in line.events
    )
