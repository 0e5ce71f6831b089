"""What JPEG costs: one classifier on the same images, lossless and re-encoded as JPEG.

    .venv/bin/python benchmarks/jpeg_cost.py --classifier=cifar_cnn --lossless=FILE.npz --data_dir=DIR

For copies of CIFAR-10 whose images are stored as JPEG. FILE.npz has `images` uint8 [N, H, W, C], the
original pixels of some training images, `labels`, and `train_index`, their rows in the `train` split.
The classifier is trained without these images, and judged on them twice: on the original pixels, and
on their JPEG twins. The training is in OUTPUT; the same command resumes there. The last line is one
JSON object; `difference` has the 95 % interval for pairs.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tfdefense import data
from tfdefense.classifiers import CLASSIFIERS, ClassifierConfig
from tfdefense.classifiers.core.classifier_training import ClassifierTraining
from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.data.core.dataset import Split
from tfdefense.data.core.decoded_images import decode_images
from tfdefense.data.core.tfds_images import TFDSImages
from tfdefense.data.tfds_source import prepare_builder
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_share


def load_twins(arguments):
    """Return the lossless images and their JPEG twins, as two splits in the same order."""
    builder = prepare_builder(arguments.dataset, arguments.data_dir, download=False)
    stored = decode_images(TFDSImages(builder, arguments.dataset, "train"))
    with np.load(arguments.lossless) as file:
        images, labels, rows = file["images"], file["labels"], file["train_index"]
    if not np.array_equal(stored.labels[rows], labels):
        sys.exit(f"--lossless={arguments.lossless}: its labels are not those of its training rows.")
    classes = builder.info.features["label"].num_classes
    lossless = Split(np.float32(images / 255.0), labels, classes, arguments.dataset)
    return lossless, Split(stored.select(rows), labels, classes, arguments.dataset)


def leave_out(split, excluded):
    """Return `split` without the images that equal one in `excluded`."""
    known = {image.tobytes() for image in excluded.images}
    keep = [image.tobytes() not in known for image in split.images]
    return split.select(np.flatnonzero(keep))


def paired_difference(first, second):
    """Return the difference of two accuracies on the same images, and its 95 % interval."""
    gained, lost, n = np.sum(first & ~second), np.sum(second & ~first), len(first)
    difference = (gained - lost) / n
    half = 1.96 * np.sqrt(gained + lost - (gained - lost) ** 2 / n) / n
    return [float(each) for each in (difference, difference - half, difference + half)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--classifier", default="cifar_cnn", choices=CLASSIFIERS.names())
    parser.add_argument("--lossless", required=True)
    parser.add_argument("--data_dir")
    parser.add_argument("--epochs", type=int, help="default: those of the recipe")
    parser.add_argument("--output", type=Path, default=Path("runs/jpeg_cost"))
    arguments = parser.parse_args()
    lossless, jpeg = load_twins(arguments)
    errors = np.mean((lossless.images - jpeg.images) ** 2, axis=(1, 2, 3))
    dataset = data.load(arguments.dataset, arguments.data_dir)
    train, validation = (leave_out(each, jpeg) for each in (dataset.train, dataset.validation))
    left = len(train) + len(validation)
    print(f"{left:,} images are left for training and validation.", flush=True)
    training = ClassifierTraining(
        CLASSIFIERS.get(arguments.classifier),
        dataclasses.replace(dataset, train=train, validation=validation),
        config=ClassifierConfig(arguments.epochs, patience=0, mixed_precision="auto"),
    )
    model = training.fit(arguments.output / f"{arguments.dataset}-{arguments.classifier}")
    runner = ModelRunner(FrozenClassifier(model, lossless.image_shape))
    splits = {"lossless": lossless, "jpeg": jpeg, "test": dataset.test}
    right = {name: runner.predict(split) == split.labels for name, split in splits.items()}
    found = {}
    for name, correct in right.items():
        found[name] = [float(correct.mean()), *wilson_interval(int(correct.sum()), len(correct))]
        print(f"{arguments.classifier} on {name}: {format_share(*found[name], len(correct))}")
    result = {
        "benchmark": "jpeg_cost",
        "classifier": arguments.classifier,
        "passes": training.loop.epochs,
        "n": len(jpeg),
        "median_psnr": round(float(np.median(-10 * np.log10(errors))), 2),
        "accuracy": found,
        "difference": paired_difference(right["lossless"], right["jpeg"]),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
