"""Judging a run: from names on a command line to the report and its figures in the run directory."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense import classifiers
from tfdefense.attacks import Attack, default_epsilon
from tfdefense.attacks.core import norms
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.data.core.dataset import Dataset
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require
from tfdefense.evaluation.detection import save_roc_figure
from tfdefense.evaluation.evaluator import default_attacks, evaluate
from tfdefense.evaluation.report.gallery import save_gallery
from tfdefense.evaluation.report.render import to_html, to_latex, to_markdown
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.report.report_figures import save_curve, save_perturbations
from tfdefense.evaluation.report.training_curves import save_training
from tfdefense.evaluation.threat_models import ThreatModels, check_threat_models
from tfdefense.training.distribute import multi_worker
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.summaries import SummaryWriter
from tfdefense.utils.atomic_write import write_text_file

ALL = "all"


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How a defence is evaluated on test images.

    Attributes:
      epsilon: radius of the attacks, in [0, 1]; None means 0.3 for grey images, 8/255 for colour.
      attacks: registered names, with what is not as usual ("pgd:restarts=5"); None means FGSM (with true and with predicted labels), BIM, PGD.
      images: how many test images for clean, grey-box and transfer rows; None means all, or as many as the
        defence says, if it is slow; "all" means all in any case.
      white_box_images: how many at most for white-box and black-box rows; None means as many as the defence
        says, 1,000 for most.
      threat_models: of `threats.THREAT_MODELS`.
      source: the classifier that transferred attacks see: whatever `--classifier` may name.
      fooled_only: grey box as Yu et al. 2020 have it; see `Threats`.

    Raises:
      UserError: one of them is out of range or unknown.
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
            f"--epsilon={self.epsilon}: a number in [0, 1] needed.",
        )
        # Complains of unknown names now, not after hours of training.
        self.chosen((28, 28, 1))
        check_threat_models(self.threat_models, self.source is not None)
        require(
            "transfer" in self.threat_models or self.source is None,
            f"--source={self.source}: only --threat_models=transfer has one.",
        )
        if self.source is not None:
            classifiers.choose(self.source, flag="source")
        for name in ("images", "white_box_images"):
            value = getattr(self, name)
            require(
                value in (None, ALL) or value >= 1,
                f"--{name}={value}: at least 1 needed.",
            )

    def chosen(self, image_shape: tuple[int, int, int]) -> tuple[Attack, ...]:
        """The attacks on images of this shape."""
        usual = {norm: default_epsilon(image_shape, norm) for norm in norms.NORMS}
        if self.attacks is None:
            return default_attacks(usual["linf"] if self.epsilon is None else self.epsilon)
        require(len(self.attacks) > 0, "--attacks: none given, at least one needed.")
        radius = usual if self.epsilon is None else self.epsilon
        return tuple(parse_attack(label, radius) for label in self.attacks)

    def threats(self, dataset: Dataset, runs_dir: str | Path = "runs", seed: int = 0) -> ThreatModels:
        """Who attacks; the source is trained first if it is one of ours and not trained yet."""
        source = None
        if self.source is not None:
            chosen = classifiers.choose(self.source, flag="source")
            source = chosen.open(dataset, runs_dir, seed)
        return ThreatModels(self.threat_models, source, self.fooled_only)

    def settings(self) -> dict[str, Any]:
        """As `report.json` keeps them."""
        plain = {**dataclasses.asdict(self), "attacks": self.attacks and list(self.attacks)}
        return {**plain, "threat_models": list(self.threat_models)}


def evaluate_run(
    run: RunDirectory,
    defense: Defense,
    dataset: Dataset,
    judging: EvaluationConfig,
    runs_dir: str | Path = "runs",
) -> Report:
    """Evaluates; writes `report.md|html|csv|tex`, `predictions.npz`, the figures and, last, `report.json`."""
    multi_worker.run_on_chief(run.lock)
    attacks = judging.chosen(dataset.image_shape)
    threats = judging.threats(dataset, runs_dir, defense.seed)
    images = judging.images or defense.judged_images
    test = dataset.test if images in (None, ALL) else dataset.test.take(images)
    report = evaluate(defense, test, attacks, judging.white_box_images, threats, runs_dir)
    report = dataclasses.replace(report, settings=judging.settings())
    path = run.path / "gallery.png"
    save_gallery(defense, test, attacks, path, dataset.class_names)
    multi_worker.run_on_chief(lambda: save(report, run))
    return report


def save(report: Report, run: RunDirectory) -> None:
    """Writes a report, whose gallery is there already, into its run directory."""
    directory = run.path
    save_curve(report, directory / "epsilon.png")
    save_perturbations(report, directory / "perturbations.png")
    pictures = ["gallery", "epsilon", "perturbations"]
    if report.detections:
        save_roc_figure(report.cells, directory / "roc.png")
    if run.exists() and save_training(run, directory / "training.png"):
        pictures.append("training")
    write_text_file(directory / "report.md", to_markdown(report, tuple(pictures)))
    write_text_file(directory / "report.html", to_html(report, directory, tuple(pictures)))
    write_text_file(directory / "report.csv", report.to_csv())
    write_text_file(directory / "report.tex", to_latex(report))
    report.save_examples(directory / "predictions.npz")
    with SummaryWriter(directory) as summaries:
        drawn = [*pictures, "roc"] if report.detections else pictures
        grids = {name: _picture(directory / f"{name}.png") for name in drawn}
        summaries.write_images("evaluation", grids, step=0)
    write_text_file(directory / "report.json", report.to_json())


def _picture(path: Path) -> np.ndarray:
    """float32 [H, W, 3] of a PNG file."""
    import matplotlib.image

    return matplotlib.image.imread(path)[..., :3]


def saved_report(run: RunDirectory, judging: EvaluationConfig | None) -> Report | None:
    """The run's finished report, if it has one that was made in this way (None: in any)."""
    path = run.path / "report.json"
    if path.is_file():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            report = Report.from_json(path.read_text())
            if judging is None or report.settings == judging.settings():
                return report
    return None
