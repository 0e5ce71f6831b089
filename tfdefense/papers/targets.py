"""What a grid is made of: classifiers, adversarial examples, trained defences, and the cells measured with them.

Each lies under a name that ends in a hash of all that it depends on; it is made once, and used by every cell that needs it.
Of a dataset that is its name: `Store` holds to its images. Of recipes and defaults it is `SCHEMA`, to be raised when one
changes that figures depend on; a test notices the change.
"""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tfdefense.attacks.core import adversarial_dataset
from tfdefense.attacks.core.spec import attack_from
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import DEFENSES
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.learned_defense import LearnedDefense
from tfdefense.evaluation.attack_summary import save_summary
from tfdefense.experiments import train, train_classifier
from tfdefense.experiments.plan import planned
from tfdefense.papers.store import Store
from tfdefense.training.run_directory import Run
from tfdefense.utils.hashing import hashed

SCHEMA = 1


class Artefact(ABC):
    """Something that is made once: a frozen dataclass of all that it depends on."""

    kind: ClassVar[str]

    @property
    def key(self) -> str:
        """A hash of kind and fields; of an artefact among them, of its."""
        return hashed([json.dumps([SCHEMA, self.kind, self.depends_on()], sort_keys=True).encode()])

    def depends_on(self) -> dict[str, Any]:
        """The fields, as JSON can hold them."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: _keys(value) for name, value in fields.items()}

    def path(self, store: Store) -> Path:
        """Where it lies."""
        return store.path / self.kind / f"{self.title.replace(' ', '-')}-{self.key[:12]}"

    def needs(self) -> list["Artefact"]:
        """What must be there before it is made."""
        return list(_artefacts([getattr(self, field.name) for field in dataclasses.fields(self)]))

    @property
    @abstractmethod
    def title(self) -> str:
        """What it is, in a few words."""

    @abstractmethod
    def is_done(self, store: Store) -> bool:
        """Whether it is there, whole."""

    @abstractmethod
    def make(self, store: Store) -> None:
        """Makes it, or goes on where an earlier call was killed."""


@dataclasses.dataclass(frozen=True)
class Classifier(Artefact):
    """A registered classifier, trained by its recipe.

    Attributes:
      dataset, name: registered names.
      passes: over the training images; None for the recipe's.
      options: of the training that are not the recipe's, as (name, value) in order.
    """

    kind = "classifiers"

    dataset: str
    name: str
    passes: int | None = None
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def title(self) -> str:
        return f"{self.dataset} {self.name}"

    def depends_on(self) -> dict[str, Any]:
        # One without options keeps the name that it had before there were any.
        every = super().depends_on()
        if not self.options:
            del every["options"]
        return every

    def run(self, store: Store) -> Run:
        """Its run directory."""
        return Run(self.path(store))

    def is_done(self, store: Store) -> bool:
        return self.run(store).classifier_path.is_file()

    def make(self, store: Store) -> None:
        settings = {"dataset": self.dataset, "classifier": self.name, **dict(self.options)}
        if self.passes is not None:
            settings["epochs"] = self.passes
        train_classifier.train(settings, self.run(store), store.data_dir)

    def load(self, store: Store) -> FrozenClassifier:
        """The classifier, frozen."""
        data = store.dataset(self.dataset)
        model = self.run(store).load_classifier()
        return FrozenClassifier(model, data.image_shape, data.num_classes)


@dataclasses.dataclass(frozen=True)
class Examples(Artefact):
    """Adversarial examples of the first images of a split, made against the classifier alone.

    Attributes:
      classifier: the one that is attacked.
      attack: a label, "pgd:steps=20".
      images: how many; None for all.
      split: "test", or "train" for those that a defence learns from.
    """

    kind = "examples"

    classifier: Classifier
    attack: str
    images: int | None
    split: str = "test"

    @property
    def title(self) -> str:
        of = "" if self.split == "test" else f" {self.split}"
        return f"{self.classifier.title} {self.attack.partition(':')[0]}{of}"

    def depends_on(self) -> dict[str, Any]:
        attack = attack_from(self.attack)
        own = {"attack": attack.name, **adversarial_dataset.hyperparameters(attack)}
        return {**super().depends_on(), **own}

    def is_done(self, store: Store) -> bool:
        return (self.path(store) / "summary.json").is_file()

    def make(self, store: Store) -> None:
        every = getattr(store.dataset(self.classifier.dataset), self.split)
        images = every if self.images is None else every.take(self.images)
        model, attack = self.classifier.load(store), attack_from(self.attack)
        made = adversarial_dataset.craft(model, images, attack, self.split, 250, self.path(store))
        save_summary(made, images)

    def load(self, store: Store) -> adversarial_dataset.Examples:
        """The examples."""
        return adversarial_dataset.load(self.path(store))


@dataclasses.dataclass(frozen=True)
class Trained(Artefact):
    """A defence, trained before a classifier; one that learns nothing is merely written down.

    Attributes:
      classifier: what it was trained with.
      defense: registered name.
      options: hyperparameters that are not the defaults, as (name, value) in order.
      passes: over the training images; None where nothing is learned.
      train_images: how many of those; None for all.
      pairs: the examples of them that it learns from; none for what it makes for itself.
    """

    kind = "defenses"

    classifier: Classifier
    defense: str
    options: tuple[tuple[str, Any], ...] = ()
    passes: int | None = None
    train_images: int | None = None
    pairs: tuple[Examples, ...] = ()

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        defense: str,
        options: Mapping[str, Any],
        passes: int | None = None,
        train_images: int | None = None,
        attacks: Sequence[str] = (),
    ) -> "Trained":
        """One with its options in order, that learns from examples of `attacks`; nothing of that where it learns nothing."""
        own = tuple(sorted(options.items()))
        if not issubclass(DEFENSES.get(defense), LearnedDefense):
            return cls(classifier, defense, own)
        pairs = tuple(Examples(classifier, label, train_images, "train") for label in attacks)
        return cls(classifier, defense, own, passes, train_images, pairs)

    @property
    def title(self) -> str:
        return f"{self.classifier.title} {self.defense}"

    def run(self, store: Store) -> Run:
        """Its run directory."""
        return Run(self.path(store))

    def is_done(self, store: Store) -> bool:
        return (self.path(store) / "finished").is_file()

    def make(self, store: Store) -> None:
        settings = {
            "defense": self.defense,
            "dataset": self.classifier.dataset,
            "classifier": str(self.classifier.path(store)),
            **dict(self.options),
            **({} if self.passes is None else {"epochs": self.passes}),
            **({} if self.train_images is None else {"train_images": self.train_images}),
        }
        pairs = [str(each.path(store)) for each in self.pairs]
        plan = planned(settings, self.run(store), store.data_dir, pairs=pairs)
        train.fitted(plan)
        (self.path(store) / "finished").touch()

    def load(self, store: Store, guarded: FrozenClassifier | None = None) -> Defense:
        """The defence before the classifier it was trained with, or before `guarded`."""
        return train.load_defense(self.run(store), guarded)


def _keys(value: Any) -> Any:
    """Artefacts as their keys, also in a tuple."""
    if isinstance(value, tuple):
        return [_keys(each) for each in value]
    return value.key if isinstance(value, Artefact) else value


def _artefacts(value: Any) -> Iterator[Artefact]:
    if isinstance(value, Artefact):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _artefacts(each)
