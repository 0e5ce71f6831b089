"""Share of the training time that is spent waiting for images, from the trace of a profiler.

    .venv/bin/python benchmarks/input_wait.py --defense=apeganpp

Twenty steps of 128 images of 28x28, read from memory and from disk, are traced by TensorFlow's
profiler. A step waits while `IteratorGetNextOp` runs. The last line is one JSON object.
"""

import argparse
import json

import numpy as np
from our_training import BATCH, SHAPE, OurTraining
from profiler_trace import record_events

from tfdefense.data.core.disk_array import DiskArray, as_images

STEPS = 20


def move_to_disk(arrays):
    """Return the same arrays, with images and directions in files."""
    images = DiskArray(arrays["clean"].shape, np.uint8, as_images)
    images[0:] = np.round(255 * arrays["clean"])
    direction = DiskArray(arrays["direction"].shape, np.int8)
    direction[0:] = arrays["direction"]
    return {**arrays, "clean": images, "direction": direction}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--defense", default="apeganpp", choices=("apeganpp", "cgan"))
    arguments = parser.parse_args()
    ours, found = OurTraining(arguments.defense), {}
    for place, arrays in (("memory", ours.arrays), ("disk", move_to_disk(ours.arrays))):
        ours.iterator = ours.trainer.make_iterator(arrays)
        ours.seconds(3)
        with record_events() as events:
            seconds = ours.seconds(STEPS)
        waited = sum(each for name, each in events if name.startswith("IteratorGetNextOp"))
        found[place] = {
            "images_per_second": round(STEPS * BATCH / seconds, 1),
            "waiting_share": round(waited / seconds, 5),
        }
    print(
        json.dumps(
            {"benchmark": "input_wait", "defense": arguments.defense, "image": SHAPE, **found}
        )
    )


if __name__ == "__main__":
    main()
