"""Settings of an evaluation, which are the flags of `bin/evaluate`."""

import dataclasses
from pathlib import Path
from typing import Any

from tfdefense import classifiers
from tfdefense.attacks import Attack, default_epsilon
from tfdefense.attacks.core import norms
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.data.core.dataset import Dataset, Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.errors import require
from tfdefense.evaluation.attack_plan import (
    AttackPlan,
    add_predicted_label_attacks,
    default_attacks,
    require_distinct,
    require_fitting,
)
from tfdefense.evaluation.checks.registry import ALL
from tfdefense.evaluation.checks.settings import CheckSettings
from tfdefense.evaluation.surrogate_choice import (
    ALL_SURROGATES,
    check_surrogate_names,
    check_surrogates,
)
from tfdefense.evaluation.threat_models import (
    DEFAULT_EOT_DRAWS,
    DEFAULT_RESUBMISSIONS,
    ThreatModels,
    check_draws,
    check_threat_models,
)

ALL_IMAGES = "all"
_ANY_SHAPE, _ANY_CLASSES = (28, 28, 1), 10


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Settings of an evaluation on test images; each attribute is a flag of `bin/evaluate`.

    Attributes:
      epsilon: radius of the attacks, in [0, 1]; None means 0.3 for grey images, 8/255 for colour. If
        no attack has a radius, it is that of checks and black-box attackers.
      attacks: registered names with the hyperparameters that differ from the defaults, such as
        "pgd:restarts=5"; None means `default_attacks`.
      images: number of test images for clean, grey-box and transfer rows; None means all, or as many as
        the budget of a slow defence says; "all" always means all.
      white_box_images: largest number of test images for white-box and black-box rows; None means as
        many as the budget of the defence says, usually 1,000.
      threat_models: some of `THREAT_MODELS`.
      source: classifier that transfer attacks attack: any value that `--classifier` takes; a custom
        model takes images in [0, 1].
      fooled_only: grey-box and transfer rows count only images that fooled the classifier; see
        `ThreatModels`.
      checks, check_images: see `CheckSettings`.
      eot_draws, resubmissions: see `ThreatModels`; only for randomised defences. None means 10.
      surrogates: surrogate gradients of the defence that white-box attacks try; "all" means all.

    Raises:
      UserError: a value is out of range or unknown.
    """

    epsilon: float | None = None
    attacks: tuple[str, ...] | None = None
    images: int | str | None = None
    white_box_images: int | None = None
    threat_models: tuple[str, ...] = ("grey_box", "white_box")
    source: str | None = None
    fooled_only: bool = False
    checks: tuple[str, ...] = (ALL,)
    check_images: int | None = None
    eot_draws: int | None = None
    resubmissions: int | None = None
    surrogates: tuple[str, ...] = (ALL_SURROGATES,)

    def __post_init__(self) -> None:
        require(
            self.epsilon is None or 0 <= self.epsilon <= 1,
            f"--epsilon={self.epsilon}: a number in [0, 1] is needed.",
        )
        # They raise errors for unknown names before any training.
        self.attacks_on(_ANY_SHAPE, _ANY_CLASSES)
        CheckSettings(self.checks, self.check_images)
        check_threat_models(self.threat_models, has_source=self.source is not None)
        check_draws(eot_draws=self.eot_draws, resubmissions=self.resubmissions)
        check_surrogate_names(self.surrogates)
        require(
            "transfer" in self.threat_models or self.source is None,
            f"--source={self.source}: needs transfer among --threat_models.",
        )
        if self.source is not None:
            classifiers.choose(self.source, flag="source")
        for name, value in (("images", self.images), ("white_box_images", self.white_box_images)):
            require(
                value is None
                or (name == "images" and value == ALL_IMAGES)
                or (isinstance(value, int) and value >= 1),
                f"--{name}={value}: at least 1 is needed.",
            )

    def attacks_on(self, image_shape: tuple[int, int, int], num_classes: int) -> tuple[Attack, ...]:
        """Return the attacks, with the radius for images of shape [H, W, C].

        Raises:
          UserError: a name or value is unknown, an attack is given twice, or it needs more classes
            or larger images.
        """
        usual = {norm: default_epsilon(image_shape, norm) for norm in norms.NORMS}
        if self.attacks is None:
            epsilon = usual["linf"] if self.epsilon is None else self.epsilon
            return default_attacks(epsilon, num_classes)
        require(len(self.attacks) > 0, "--attacks: none given; at least one is needed.")
        radius = usual if self.epsilon is None else self.epsilon
        attacks = tuple(parse_attack(label, radius) for label in self.attacks)
        require_fitting(attacks, image_shape, num_classes)
        require_distinct(add_predicted_label_attacks(attacks))
        return attacks

    def require_usable_with(self, test: Split) -> None:
        """Raise `UserError` for attacks or a number of checked images that do not suit test images.

        The default budgets are those of most defences; a slow defence may have fewer images.
        """
        self.attacks_on(test.image_shape, test.num_classes)
        budget = EvaluationBudget()
        images = self.images or budget.images
        counts = [images, self.white_box_images or budget.white_box_images, len(test)]
        available = min(count for count in counts if isinstance(count, int))
        CheckSettings(self.checks, self.check_images).require_images(available)

    def require_usable_on(self, defense: Defense | type[Defense]) -> None:
        """Raise `UserError` for settings that do not suit a defence.

        They are numbers of draws although it draws no random numbers and, of an instance, surrogates
        that it does not declare.
        """
        for name in ("eot_draws", "resubmissions"):
            number = getattr(self, name)
            require(
                number is None or defense.is_randomized,
                f"--{name}={number}: {defense.name} draws no random numbers. Leave it out.",
            )
        if isinstance(defense, Defense):
            check_surrogates(self.chosen_surrogates, defense)

    @property
    def chosen_surrogates(self) -> tuple[str, ...] | None:
        """Names of the surrogates; None means all."""
        return None if ALL_SURROGATES in self.surrogates else self.surrogates

    def test_split(self, defense: Defense, dataset: Dataset) -> Split:
        """Return the test images of clean, grey-box and transfer rows."""
        images = self.images or defense.budget.images
        return dataset.test.take(images) if isinstance(images, int) else dataset.test

    def attack_plan(
        self, dataset: Dataset, runs_dir: str | Path = "runs", seed: int = 0
    ) -> AttackPlan:
        """Return the attack plan. A registered source classifier is trained if it is not yet.

        Args:
          dataset: data for the attacks, for training the source and for calibrating suspicion.
          runs_dir: where run directories and adversarial images are.
          seed: seed of the training.
        """
        attacks = self.attacks_on(dataset.image_shape, dataset.num_classes)
        source = None
        if self.source is not None:
            reference = classifiers.choose(self.source, flag="source")
            source = reference.open(dataset, runs_dir, seed)
        threat_models = ThreatModels(
            self.threat_models,
            source,
            self.fooled_only,
            DEFAULT_EOT_DRAWS if self.eot_draws is None else self.eot_draws,
            DEFAULT_RESUBMISSIONS if self.resubmissions is None else self.resubmissions,
        )
        checks = CheckSettings(self.checks, self.check_images)
        return AttackPlan(
            attacks,
            self.white_box_images,
            threat_models,
            runs_dir,
            checks=checks,
            surrogates=self.chosen_surrogates,
            validation=dataset.validation,
            epsilon=self.epsilon,
        )

    def settings(self) -> dict[str, Any]:
        """Return the settings as `report.json` stores them."""
        plain = {**dataclasses.asdict(self), "attacks": self.attacks and list(self.attacks)}
        return {
            **plain,
            "threat_models": list(self.threat_models),
            "checks": list(self.checks),
            "surrogates": list(self.surrogates),
        }
