"""Accuracy of one classifier on lossless images and on their JPEG copies.

    .venv/bin/python benchmarks/jpeg_cost.py --classifier=cifar_cnn --lossless=FILE.npz --data_dir=DIR

For a dataset whose images are stored as JPEG, such as a copy of CIFAR-10. FILE.npz has `images` uint8
[N, H, W, C], the original pixels of some training images, their `labels`, and `train_index`, their
rows in the `train` split. The classifier is trained on JPEG images without these. Its accuracy is
measured on the original pixels of these images, and on their JPEG copies: that is the cost of a
change from one to the other after the training. The training is in OUTPUT; the same command resumes
there. The last line is one JSON object; `only_lossless` and `only_jpeg` count the images that are
correct in one form alone.
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
from tfdefense.data.core.disk_array import as_images
from tfdefense.data.core.tfds_images import TFDSImages
from tfdefense.data.tfds_source import prepare_builder
from tfdefense.errors import UserError
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.utils.hashing import hash_parts
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_share

LEAST_PSNR = 20  # dB, less than any JPEG copy that people keep.


def load_twins(arguments):
    """Return the lossless images and their JPEG copies, as two splits in the same order."""
    builder = prepare_builder(arguments.dataset, arguments.data_dir, download=False)
    stored = decode_images(TFDSImages(builder, arguments.dataset, "train"))
    with np.load(arguments.lossless) as file:
        images, labels, rows = file["images"], file["labels"], file["train_index"]
    if images.dtype != np.uint8 or images.shape[1:] != stored.stored.shape[1:]:
        raise ValueError(f"images of {images.dtype} {images.shape[1:]} given")
    if len(np.unique(rows)) != len(rows) or rows.min() < 0:
        raise ValueError("train_index has rows twice, or negative ones")
    if not np.array_equal(stored.labels[rows], labels):
        raise ValueError("its labels are not those of its training rows")
    classes = builder.info.features["label"].num_classes
    lossless = Split(as_images(images), labels, classes, arguments.dataset)
    jpeg = Split(stored.select(rows), labels, classes, arguments.dataset)
    if median_psnr(lossless, jpeg) < LEAST_PSNR:
        raise ValueError("its images are not those of its training rows")
    return lossless, jpeg


def median_psnr(first, second):
    """Return the median over images of the ratio of peak signal to noise, in dB, at most 120."""
    errors = np.mean((first.images - second.images) ** 2, axis=(1, 2, 3))
    return float(np.median(-10 * np.log10(np.maximum(errors, 1e-12))))


def leave_out(split, excluded):
    """Return `split` without the images that equal one in `excluded`."""
    known = {image.tobytes() for image in excluded.images}
    keep = [image.tobytes() not in known for image in split.images]
    return split.select(np.flatnonzero(keep))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--classifier", default="cifar_cnn", choices=CLASSIFIERS.names())
    parser.add_argument("--lossless", required=True)
    parser.add_argument("--data_dir")
    parser.add_argument("--epochs", type=int, help="default: those of the recipe")
    parser.add_argument("--output", type=Path, default=Path("runs/jpeg_cost"))
    arguments = parser.parse_args()
    try:
        lossless, jpeg = load_twins(arguments)
    except UserError as error:
        sys.exit(f"jpeg_cost: {error}")
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        sys.exit(f"jpeg_cost: --lossless={arguments.lossless}: {error}. It needs what --help says.")
    dataset = data.load(arguments.dataset, arguments.data_dir)
    train, validation = (leave_out(each, jpeg) for each in (dataset.train, dataset.validation))
    left = len(train) + len(validation)
    print(f"{left:,} images are left for training and validation.", flush=True)
    identity = hash_parts([jpeg.images])[:12]
    training = ClassifierTraining(
        CLASSIFIERS.get(arguments.classifier),
        dataclasses.replace(dataset, train=train, validation=validation),
        config=ClassifierConfig(arguments.epochs, patience=0, mixed_precision="auto"),
    )
    model = training.fit(
        arguments.output
        / f"{arguments.dataset}-{arguments.classifier}-{training.loop.epochs}-{identity}"
    )
    runner = ModelRunner(FrozenClassifier(model, lossless.image_shape))
    splits = {"lossless": lossless, "jpeg": jpeg, "test": dataset.test}
    correct = {name: runner.predict(split) == split.labels for name, split in splits.items()}
    accuracies = {}
    for name, each in correct.items():
        accuracies[name] = [float(each.mean()), *wilson_interval(int(each.sum()), len(each))]
        print(f"{arguments.classifier} on {name}: {format_share(*accuracies[name], len(each))}")
    result = {
        "benchmark": "jpeg_cost",
        "classifier": arguments.classifier,
        "epochs": training.loop.epochs,
        "n": len(jpeg),
        "median_psnr": round(median_psnr(lossless, jpeg), 2),
        "accuracy": accuracies,
        "only_lossless": int(np.sum(correct["lossless"] & ~correct["jpeg"])),
        "only_jpeg": int(np.sum(correct["jpeg"] & ~correct["lossless"])),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
