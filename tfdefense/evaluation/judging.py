"""Judging a run: from names on a command line to the report and gallery in the run directory."""

import contextlib
import dataclasses
from typing import Any

from tfdefense.attacks import Attack, default_epsilon
from tfdefense.attacks.labels import attack_from
from tfdefense.data.dataset import Dataset
from tfdefense.defenses.base import Defense
from tfdefense.errors import require
from tfdefense.evaluation.evaluate import default_attacks, evaluate
from tfdefense.evaluation.gallery import save_gallery
from tfdefense.evaluation.report import Report
from tfdefense.runs import Run


@dataclasses.dataclass(frozen=True)
class Judging:
    """How a defence is evaluated on test images.

    Attributes:
      epsilon: radius of the attacks, in [0, 1]; None means 0.3 for grey images, 8/255 for colour.
      attacks: registered names, with what is not as usual ("pgd:restarts=5"); None means FGSM (with true and with predicted labels), BIM, PGD.
      images: how many test images for clean and grey-box rows; None means all, or as many as the defence
        says, if it is slow.
      white_box_images: how many at most for white-box rows; None means as many as the defence says, 1,000 for
        most.

    Raises:
      UserError: one of them is out of range or unknown.
    """

    epsilon: float | None = None
    attacks: tuple[str, ...] | None = None
    images: int | None = None
    white_box_images: int | None = None

    def __post_init__(self) -> None:
        require(
            self.epsilon is None or 0 <= self.epsilon <= 1,
            f"--epsilon={self.epsilon}: a number in [0, 1] needed.",
        )
        self.chosen((28, 28, 1))  # Complains of unknown names now, not after hours of training.
        for name in ("images", "white_box_images"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"--{name}={value}: at least 1 needed.")

    def chosen(self, image_shape: tuple[int, int, int]) -> tuple[Attack, ...]:
        """The attacks on images of this shape."""
        epsilon = default_epsilon(image_shape) if self.epsilon is None else self.epsilon
        if self.attacks is None:
            return default_attacks(epsilon)
        require(len(self.attacks) > 0, "--attacks: none given, at least one needed.")
        return tuple(attack_from(label, epsilon) for label in self.attacks)

    def settings(self) -> dict[str, Any]:
        """As `report.json` keeps them."""
        return {**dataclasses.asdict(self), "attacks": self.attacks and list(self.attacks)}


def judge(run: Run, defense: Defense, dataset: Dataset, judging: Judging) -> Report:
    """Evaluates; writes `report.json`, `report.md` and `gallery.png` into the run."""
    attacks = judging.chosen(dataset.image_shape)
    images = judging.images or defense.judged_images
    test = dataset.test if images is None else dataset.test.take(images)
    report = evaluate(defense, test, attacks, judging.white_box_images)
    report = dataclasses.replace(report, settings=judging.settings())
    save_gallery(defense, test, attacks, run.path / "gallery.png", dataset.class_names)
    report.save(run.path)
    return report


def saved_report(run: Run, judging: Judging | None) -> Report | None:
    """The run's finished report, if it has one that was made in this way (None: in any)."""
    path = run.path / "report.json"
    if path.is_file():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            report = Report.from_json(path.read_text())
            if judging is None or report.settings == judging.settings():
                return report
    return None
