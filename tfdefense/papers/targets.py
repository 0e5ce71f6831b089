"""Targets: everything that a grid makes once and keeps in the store.

A target is a trained classifier, a set of adversarial examples, a trained defence or a measured
cell (`measurements.py`). Its file name ends in its key (`stored_target.py`).
"""

import dataclasses
from typing import Any

from tfdefense.attacks.core.adversarial_dataset import (
    AdversarialDataset,
    load_adversarial_dataset,
)
from tfdefense.attacks.core.adversarial_dataset_maker import (
    AdversarialStorage,
    make_adversarial_dataset,
)
from tfdefense.attacks.core.hyperparameters import hyperparameter_values
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.defenses.registry import DEFENSES
from tfdefense.evaluation.attack_summary import save_attack_summary
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.from_flags import (
    classifier_experiment_from_flags,
    experiment_from_flags,
)
from tfdefense.experiments.load import load_defense
from tfdefense.experiments.train import train_defense
from tfdefense.experiments.train_classifier import train_classifier
from tfdefense.papers.paper import PaperDefense
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import StoredTarget
from tfdefense.training.run_directory import RunDirectory

# (dataset, classifier) -> options that give the recipe with which figures of `SCHEMA` 1 were measured,
# if the recipe has changed since. `budgets.toml` has the same options. Keys leave them out, because
# the keys of these figures contain none.
_FIRST_OPTIONS: dict[tuple[str, str], tuple[tuple[str, Any], ...]] = {
    ("cifar10", "cifar_cnn"): (
        ("batch_size", 128),
        ("label_smoothing", 0.0),
        ("learning_rate", 1e-3),
        ("optimizer", "adam"),
        ("schedule", "cosine"),
        ("weight_decay", 0.0),
    )
}

# Images in a shard, from which a killed call resumes. Attacks of more than 15 gradients for an image
# (DeepFool, JSMA, C&W) have small ones, because before a deep network 250 images take many minutes.
_BATCH, _SLOW_BATCH, _SLOW_GRADIENTS = 250, 50, 15.0


@dataclasses.dataclass(frozen=True)
class ClassifierTarget(StoredTarget):
    """A registered classifier, trained by its recipe.

    Attributes:
      dataset, name: registered names.
      passes: epochs over the training images; None for the recipe's.
      options: training options that differ from the recipe, as sorted (name, value) pairs.
    """

    kind = "classifiers"
    last_file = RunDirectory("").classifier_path.name

    dataset: str
    name: str
    passes: int | None = None
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def title(self) -> str:
        return f"{self.dataset} {self.name}"

    def key_fields(self) -> dict[str, Any]:
        # The options of the first figures are left out, so that their keys stay valid. Most are empty.
        fields = super().key_fields()
        if self.options == _FIRST_OPTIONS.get((self.dataset, self.name), ()):
            del fields["options"]
        return fields

    def run(self, store: TargetStore) -> RunDirectory:
        """Return its run directory."""
        return RunDirectory(self.path(store))

    def make(self, store: TargetStore) -> None:
        settings = {"dataset": self.dataset, "classifier": self.name, **dict(self.options)}
        if self.passes is not None:
            settings["epochs"] = self.passes
        experiment = classifier_experiment_from_flags(settings)
        train_classifier(experiment, ExperimentContext(store.data_dir), self.run(store))

    def load(self, store: TargetStore) -> FrozenClassifier:
        """Return the trained classifier."""
        data = store.dataset(self.dataset)
        model = self.run(store).load_classifier()
        return FrozenClassifier(model, data.image_shape, data.num_classes)


@dataclasses.dataclass(frozen=True)
class ExamplesTarget(StoredTarget):
    """Adversarial examples of the first images of a split, made for the classifier alone.

    Attributes:
      classifier: the attacked classifier.
      attack: label of the attack, such as "pgd:steps=20".
      images: number of images; None for all.
      split: "test", or "train" for images on which a defence is trained.
    """

    kind = "examples"
    last_file = "summary.json"

    classifier: ClassifierTarget
    attack: str
    images: int | None
    split: str = "test"

    @property
    def title(self) -> str:
        of = "" if self.split == "test" else f" {self.split}"
        return f"{self.classifier.title} {self.attack.partition(':')[0]}{of}"

    def key_fields(self) -> dict[str, Any]:
        attack = parse_attack(self.attack)
        of_attack = {"attack": attack.name, **hyperparameter_values(attack)}
        return {**super().key_fields(), **of_attack}

    def make(self, store: TargetStore) -> None:
        split = getattr(store.dataset(self.classifier.dataset), self.split)
        images = split if self.images is None else split.take(self.images)
        model, attack = self.classifier.load(store), parse_attack(self.attack)
        cost = attack.typical_cost(images.image_shape, images.num_classes)
        batch = _SLOW_BATCH if cost is not None and cost > _SLOW_GRADIENTS else _BATCH
        storage = AdversarialStorage(self.split, batch, self.path(store))
        made = make_adversarial_dataset(model, images, attack, storage)
        save_attack_summary(made, images)

    def load(self, store: TargetStore) -> AdversarialDataset:
        """Return the examples."""
        return load_adversarial_dataset(self.path(store))


@dataclasses.dataclass(frozen=True)
class DefenseTarget(StoredTarget):
    """A defence, trained with a classifier; without training, only its run directory.

    Attributes:
      classifier: the classifier that it is trained with.
      defense: registered name.
      options: hyperparameters that differ from the defaults, as sorted (name, value) pairs.
      passes: epochs over the training images; None for a defence without training.
      train_images: number of training images; None for all.
      pairs: adversarial examples that it is trained on; empty if it makes its own.
    """

    kind = "defenses"
    last_file = "finished"

    classifier: ClassifierTarget
    defense: str
    options: tuple[tuple[str, Any], ...] = ()
    passes: int | None = None
    train_images: int | None = None
    pairs: tuple[ExamplesTarget, ...] = ()

    @classmethod
    def from_choice(
        cls,
        classifier: ClassifierTarget,
        choice: PaperDefense,
        passes: int | None = None,
        train_images: int | None = None,
    ) -> "DefenseTarget":
        """Return the target of a paper's defence; a defence without training ignores the rest."""
        options = tuple(sorted(choice.options.items()))
        if not issubclass(DEFENSES.get(choice.defense), LearnedDefense):
            return cls(classifier, choice.defense, options)
        pairs = tuple(
            ExamplesTarget(classifier, label, train_images, "train") for label in choice.pairs
        )
        return cls(classifier, choice.defense, options, passes, train_images, pairs)

    @property
    def title(self) -> str:
        return f"{self.classifier.title} {self.defense}"

    def run(self, store: TargetStore) -> RunDirectory:
        """Return its run directory."""
        return RunDirectory(self.path(store))

    def make(self, store: TargetStore) -> None:
        settings = {
            "defense": self.defense,
            "dataset": self.classifier.dataset,
            "classifier": str(self.classifier.path(store)),
            **dict(self.options),
            **({} if self.passes is None else {"epochs": self.passes}),
            **({} if self.train_images is None else {"train_images": self.train_images}),
            **({"pairs": [str(each.path(store)) for each in self.pairs]} if self.pairs else {}),
        }
        config = experiment_from_flags(settings)
        train_defense(config, ExperimentContext(store.data_dir), self.run(store))
        self.last_path(store).touch()

    def load(self, store: TargetStore, guarded: FrozenClassifier | None = None) -> Defense:
        """Return the trained defence; it guards `guarded`, or the classifier of its training."""
        return load_defense(self.run(store), guarded)
