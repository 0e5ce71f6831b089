"""The networks under attack. A new one is one file here and one line in `CLASSIFIERS`."""

from pathlib import Path

from tfdefense.classifiers.frozen import FrozenClassifier
from tfdefense.classifiers.training import ClassifierTraining, accuracy
from tfdefense.data.dataset import Dataset
from tfdefense.progress import say
from tfdefense.registry import Registry
from tfdefense.runs import Run, RunConfig

CLASSIFIERS = Registry(
    "classifier",
    {
        "cifar_cnn": "tfdefense.classifiers.cifar_cnn:CIFAR_CNN",
        "mnist_cnn": "tfdefense.classifiers.mnist_cnn:MNIST_CNN",
    },
)


def default_for(image_shape: tuple[int, int, int]) -> str:
    """The paper's own small network for such images: MNIST-CNN for grey ones, CIFAR-CNN for colour."""
    return "mnist_cnn" if image_shape[-1] == 1 else "cifar_cnn"


def load(
    name: str, data: Dataset, runs_dir: str | Path = "runs", seed: int = 0
) -> FrozenClassifier:
    """The classifier `name` for `data`, trained first if there is no trained one yet.

    Args:
      name: a registered architecture.
      data: what it is, or has been, trained on.
      runs_dir: where run directories lie; this one's is `<runs_dir>/<dataset>-<name>`.
      seed: for training it.

    Raises:
      UserError: unknown name, images it cannot take, or a foreign directory in the way.
    """
    architecture = CLASSIFIERS.get(name)
    config = RunConfig(
        kind="classifier",
        settings={"dataset": data.name, "classifier": name, "seed": seed},
    )
    run = Run(Path(runs_dir) / f"{data.name}-{name}")
    if run.classifier_path.is_file():
        run.require_kind("classifier")
        return FrozenClassifier(run.load_classifier(), data.image_shape, data.num_classes)
    training = ClassifierTraining(architecture, data, seed)
    run.start(config)
    say(f"Training the target classifier {training.name} into {run.path}.")
    model = training.fit(run.path)
    run.save_classifier(model)
    measured = accuracy(model, data.test)
    say(f"{training.name}: test accuracy {measured:.2%} (n = {len(data.test):,}).")
    return FrozenClassifier(model, data.image_shape, data.num_classes)


__all__ = ["CLASSIFIERS", "ClassifierTraining", "FrozenClassifier", "default_for", "load"]
