"""Evaluation of a run directory: from the flags of `bin/evaluate` to the files of the report."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from tfdefense import classifiers
from tfdefense.attacks import Attack, default_epsilon
from tfdefense.attacks.core import norms
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.data.core.dataset import Dataset, Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require
from tfdefense.evaluation.attack_plan import AttackPlan, default_attacks
from tfdefense.evaluation.evaluator import evaluate_plan
from tfdefense.evaluation.report.gallery import save_gallery
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.report.report_files import save_report
from tfdefense.evaluation.threat_models import ThreatModels, check_threat_models
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory

ALL_IMAGES = "all"
_ANY_SHAPE = (28, 28, 1)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Settings of an evaluation on test images; each attribute is a flag of `bin/evaluate`.

    Attributes:
      epsilon: radius of the attacks, in [0, 1]; None means 0.3 for grey images, 8/255 for colour.
      attacks: registered names with the hyperparameters that differ from the defaults, such as
        "pgd:restarts=5"; None means FGSM with the true and with the predicted label, BIM and PGD.
      images: number of test images for clean, grey-box and transfer rows; None means all, or as many as
        the budget of a slow defence says; "all" always means all.
      white_box_images: largest number of test images for white-box and black-box rows; None means as
        many as the budget of the defence says, usually 1,000.
      threat_models: some of `THREAT_MODELS`.
      source: classifier that transfer attacks attack: any value that `--classifier` takes.
      fooled_only: grey-box and transfer rows count only images that fooled the classifier; see
        `ThreatModels`.

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

    def __post_init__(self) -> None:
        require(
            self.epsilon is None or 0 <= self.epsilon <= 1,
            f"--epsilon={self.epsilon}: a number in [0, 1] is needed.",
        )
        self.attacks_on(_ANY_SHAPE)  # Raises an error for unknown names before any training.
        check_threat_models(self.threat_models, has_source=self.source is not None)
        require(
            "transfer" in self.threat_models or self.source is None,
            f"--source={self.source}: needs transfer among --threat_models.",
        )
        if self.source is not None:
            classifiers.choose(self.source, flag="source")
        for name, value in (("images", self.images), ("white_box_images", self.white_box_images)):
            require(
                value in (None, ALL_IMAGES) or (isinstance(value, int) and value >= 1),
                f"--{name}={value}: at least 1 is needed.",
            )

    def attacks_on(self, image_shape: tuple[int, int, int]) -> tuple[Attack, ...]:
        """Return the attacks, with the radius for images of shape [H, W, C]."""
        usual = {norm: default_epsilon(image_shape, norm) for norm in norms.NORMS}
        if self.attacks is None:
            return default_attacks(usual["linf"] if self.epsilon is None else self.epsilon)
        require(len(self.attacks) > 0, "--attacks: none given; at least one is needed.")
        radius = usual if self.epsilon is None else self.epsilon
        return tuple(parse_attack(label, radius) for label in self.attacks)

    def test_split(self, defense: Defense, dataset: Dataset) -> Split:
        """Return the test images of clean, grey-box and transfer rows."""
        images = self.images or defense.budget.images
        return dataset.test.take(images) if isinstance(images, int) else dataset.test

    def attack_plan(
        self, dataset: Dataset, runs_dir: str | Path = "runs", seed: int = 0
    ) -> AttackPlan:
        """Return the attack plan. A registered source classifier is trained if it is not yet.

        Args:
          dataset: data for the attacks and for training the source.
          runs_dir: where run directories and adversarial images are.
          seed: seed of the training.
        """
        source = None
        if self.source is not None:
            reference = classifiers.choose(self.source, flag="source")
            source = reference.open(dataset, runs_dir, seed)
        threat_models = ThreatModels(self.threat_models, source, self.fooled_only)
        attacks = self.attacks_on(dataset.image_shape)
        return AttackPlan(attacks, self.white_box_images, threat_models, runs_dir)

    def settings(self) -> dict[str, Any]:
        """Return the settings as `report.json` stores them."""
        plain = {**dataclasses.asdict(self), "attacks": self.attacks and list(self.attacks)}
        return {**plain, "threat_models": list(self.threat_models)}


def evaluate_run(
    run: RunDirectory,
    defense: Defense,
    dataset: Dataset,
    config: EvaluationConfig,
    runs_dir: str | Path = "runs",
) -> Report:
    """Evaluate a defence and write the report into its run directory.

    Args:
      run: the run directory.
      defense: the defence of the run.
      dataset: data whose test images are attacked.
      config: how to evaluate.
      runs_dir: where adversarial images are stored and reused.
    """
    multi_worker.run_on_chief(run.lock)
    plan = config.attack_plan(dataset, runs_dir, defense.seed)
    test = config.test_split(defense, dataset)
    report = evaluate_plan(defense, test, plan)
    report = dataclasses.replace(report, settings=config.settings())
    attacks = config.attacks_on(dataset.image_shape)
    save_gallery(defense, test, attacks, run.path / "gallery.png", dataset.class_names)
    multi_worker.run_on_chief(lambda: save_report(report, run))
    return report


def load_finished_report(run: RunDirectory, config: EvaluationConfig | None) -> Report | None:
    """Return the report of a run, or None if it has none with these settings.

    Args:
      run: the run directory.
      config: the settings; None accepts any.
    """
    path = run.path / "report.json"
    if path.is_file():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            report = Report.from_json(path.read_text())
            if config is None or report.settings == config.settings():
                return report
    return None
