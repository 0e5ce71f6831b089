"""Peak memory of training on n and on 4 n images from folders, TFDS and adversarial pairs.

    .venv/bin/python benchmarks/memory.py

Images of 96x96x3 are generated, stored in each form, and used for a few training steps. Each case
runs in its own process, whose peak resident memory is read at the end. Images that need more than
1 GiB as float32 are kept on disk; here the limit is zero, so that both sizes are. "in memory" has
the normal limit, for comparison. The last line is one JSON object, in MiB.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tfdefense.utils.huge_pages import use_huge_pages

ROOT = Path(__file__).parents[1]
SHAPE, CLASSES = (96, 96, 3), 4
KINDS = ("folders", "tfds", "pairs", "in memory")


def generate_images(count, seed):
    """Yield batches of smooth noise, uint8 [n, H, W, C], `count` images in total."""
    import numpy as np

    draws = np.random.default_rng(seed)
    for start in range(0, count, 500):
        coarse = draws.integers(0, 256, (min(500, count - start), 12, 12, 3), np.uint8)
        yield np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)


def prepare(place, count):
    """Store `count` images as folders of PNG files and as a TFDS dataset."""
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from PIL import Image

    number = 0
    for batch in generate_images(count, seed=0):
        for image in batch:
            folder = place / "folders" / f"class{number % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number}.png", compress_level=1)
            number += 1
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=SHAPE),
            "label": tfds.features.ClassLabel(num_classes=CLASSES),
        }
    )

    def make_split(count, seed):
        def examples():
            number = 0
            for batch in generate_images(count, seed):
                for image in batch:
                    yield {"image": image, "label": number % CLASSES}
                    number += 1

        signature = {
            "image": tf.TensorSpec(SHAPE, tf.uint8),
            "label": tf.TensorSpec((), tf.int64),
        }
        return tf.data.Dataset.from_generator(examples, output_signature=signature)

    tfds.dataset_builders.store_as_tfds_dataset(
        name="noise",
        version="1.0.0",
        features=features,
        split_datasets={"train": make_split(count, 0), "test": make_split(200, 1)},
        data_dir=str(place / "tfds"),
    )


def train(kind, place):
    """Train one case for a few steps and print the peak memory of this process in MiB."""
    import keras

    import tfdefense
    from tfdefense.attacks import FGSM
    from tfdefense.attacks.core.adversarial_dataset_maker import (
        AdversarialStorage,
        make_adversarial_dataset,
    )
    from tfdefense.classifiers import FrozenClassifier
    from tfdefense.data.core import disk_array
    from tfdefense.defenses import APEGANPlusPlus
    from tfdefense.training import LoopConfig, Trainer

    if kind != "in memory":
        disk_array.MEMORY_LIMIT = 0
    name, options = f"dir:{place / 'folders'}", {}
    if kind == "tfds":
        name, options = "noise", {"data_dir": str(place / "tfds")}
    data = tfdefense.data.load(name, **options)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 8, 8, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES),
        ],
        name="tiny",
    )
    pairs = []
    if kind == "pairs":
        frozen = FrozenClassifier(model, SHAPE)
        storage = AdversarialStorage("train", output=place / "crafted")
        pairs = [make_adversarial_dataset(frozen, data.train, FGSM(epsilon=0.1), storage)]
    defense = APEGANPlusPlus(model)
    defense.prepare(100)
    trainer = Trainer(defense, LoopConfig(epochs=1, batch_size=8))
    trainer.run_steps(trainer.make_iterator(defense.training_arrays(data.train, pairs)), 0, 5)
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} of {len(data.train)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3_000, help="n")
    parser.add_argument("--kind", help="internal: the case of a child process")
    parser.add_argument("--place", type=Path, help="internal: the directory of a child process")
    arguments = parser.parse_args()
    if arguments.kind == "prepare":
        prepare(arguments.place, arguments.images)
        return
    if arguments.kind:
        train(arguments.kind, arguments.place)
        return
    found = {kind: {} for kind in KINDS}
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as place:
        environment["TFDEFENSE_CACHE"] = f"{place}/cache"
        for times in (1, 4):
            for kind in ("prepare", *KINDS):
                command = [sys.executable, __file__, f"--kind={kind}", f"--place={place}/{times}"]
                command.append(f"--images={times * arguments.images}")
                done = subprocess.run(
                    command, env=environment, capture_output=True, text=True, check=True
                )
                if kind != "prepare":
                    peak = next(x for x in done.stdout.splitlines() if x.startswith("peak"))
                    found[kind][f"{times} n"] = int(peak.split()[1])
                print(f"{times} n, {kind}: {done.stdout.strip()[-60:]}", file=sys.stderr)
    result = {"benchmark": "memory", "n": arguments.images, "image": SHAPE, "peak_mib": found}
    print(json.dumps(result))


if __name__ == "__main__":
    use_huge_pages()  # As the commands do.
    main()
