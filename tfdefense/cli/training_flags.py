"""Flags of trainings, which only `bin/train` has."""

import dataclasses

from tfdefense.classifiers import ClassifierConfig
from tfdefense.classifiers.core.augmentation import AUGMENTATIONS
from tfdefense.cli.flags import CommandFlags
from tfdefense.defenses.registry import DEFENSES

_CLASSIFIER_FLAGS = {
    "optimizer": "adam or sgd (default: the recipe of the network).",
    "weight_decay": "Decay of kernels per step and unit of learning rate (default: the recipe).",
    "label_smoothing": "Share of the target probability that is spread over all classes, in [0, 1)"
    " (default: the recipe).",
    "patience": "Stop after this number of validations, of about 20, without a new lowest loss; 0 never"
    " stops (default: 8). With the schedule triangle, only those in the last quarter of the steps count."
    " The weights with the lowest validation loss are kept.",
}


def add_training_flags(flags: CommandFlags) -> None:
    """Define the flags of a training, of a defence and in part of a classifier."""
    recipes = [
        f"{recipe} of {name}" for name in DEFENSES.names() for recipe in DEFENSES.get(name).recipes
    ]
    flags.add(
        "how",
        "recipe",
        str,
        f"Values for flags that are not given: {', '.join(recipes)} (default: those of each flag).",
    )
    flags.add(
        "where", "run", str, "Run directory (default: runs/<dataset>-<classifier>-<defense>)."
    )
    flags.add(
        "how",
        "pairs",
        list,
        "Directories that bin/attack --split=train wrote, separated by commas. Each image and step uses"
        " one of them at random (default: FGSM images, made during training).",
    )
    flags.add_typed(
        "how",
        "pair_weights",
        tuple[float, ...],
        "Weights with which the directories of --pairs are drawn, such as 2,1 (default: all equal).",
    )
    flags.add("where", "overwrite", bool, "Delete what the run directory holds and start afresh.")
    flags.add(
        "how",
        "epochs",
        int,
        "Passes over the training images (default: for a classifier, its recipe; for a defence, enough"
        " for about 450,000 images, 8 to 64; apeganpp at most 24 over fewer than 5,000; magnet 2,000,000"
        " images, 20 to 400; defense_gan 1,000,000 images, 10 to 400; fewer of images larger than 32x32"
        " in colour).",
    )
    flags.add(
        "how",
        "train_images",
        int,
        "Number of training images that a defence learns from, the first of their random order"
        " (default: all).",
    )
    flags.add(
        "how",
        "init_run",
        str,
        "Run directory of a trained defence whose weights training begins with (default: random weights"
        " from the seed).",
    )
    flags.add(
        "how",
        "batch_size",
        int,
        "Images in a step, over all replicas (default: 128, or fewer if the images are large; 32 of"
        " apeganpp with fewer than 5,000 training images; 256 of the classifiers cifar_cnn, resnet18,"
        " vgg16 and densenet in colour; with the optimizer sgd, at most 1/32 of the training images, but at least 16).",
    )
    flags.add(
        "how", "seed", int, "Seed of initial weights, order of data and random draws (default: 0)."
    )
    flags.add(
        "how",
        "augmentation",
        str,
        f"Random changes of the training images, before any attack on them: {', '.join(AUGMENTATIONS)}"
        " (default: for a defence, none; for a classifier, its recipe).",
    )
    flags.add(
        "how",
        "mirror",
        bool,
        "Mirror the training images in every second epoch; never signs or digits (default: for a defence,"
        " no; for a classifier, colour images of a dataset that is known to keep its classes, such as"
        " cifar10).",
    )
    flags.add(
        "how",
        "cutout",
        int,
        "Side in pixels of a grey square at a random place of each training image; 0 for none (default:"
        " for a defence, 0; for a classifier, its recipe).",
    )
    flags.add(
        "how",
        "average",
        float,
        "Momentum of a moving average of the weights, such as 0.999, which replaces the weights after"
        " training; it is smaller in the first steps; 0 for none (default: for a defence, 0; for a"
        " classifier, its recipe).",
    )
    flags.add(
        "how",
        "mixed_precision",
        str,
        "Type that networks compute with during training: float32, bfloat16, or auto: bfloat16 if the"
        " training is long, all devices have it, and it was faster in a short trial (default: auto)."
        " A resumed run keeps its type. Weights, losses, evaluation and export use float32.",
    )


def add_classifier_training_flags(flags: CommandFlags) -> None:
    """Define the flags that only the training of a classifier has."""
    for field in dataclasses.fields(ClassifierConfig):
        if field.name in _CLASSIFIER_FLAGS:
            flags.add_typed(
                "training of a classifier (with epochs, batch_size, seed, augmentation, mirror, cutout, average,"
                " learning_rate, and schedule: cosine or triangle)",
                field.name,
                field.type,
                _CLASSIFIER_FLAGS[field.name],
            )
