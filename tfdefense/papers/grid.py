"""Grid of a paper: the cells of its figures under a budget, and the targets that they need."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfdefense.papers.budget import Budget
from tfdefense.papers.measurements import PaperCell
from tfdefense.papers.paper import Paper, PaperDefense, PaperFigure
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import StoredTarget
from tfdefense.papers.targets import ClassifierTarget, DefenseTarget, ExamplesTarget


class PaperGrid:
    """Figures of a paper, each with its cell.

    Args:
      paper: the paper.
      figures: those of its figures that are needed.
      budget: how much is computed.

    Attributes:
      cells: list of (figure, cell).
    """

    def __init__(self, paper: Paper, figures: Sequence[PaperFigure], budget: Budget) -> None:
        self.paper = paper
        self.budget = budget
        self.cells = [(figure, self.cell(figure)) for figure in figures]

    def cell(self, figure: PaperFigure) -> PaperCell:
        """Return the measurement that a figure needs."""
        classifier = self._classifier(figure, figure.attacked_classifier)
        attack, choice = self.paper.attack_label(figure), self.paper.defense_choice(figure)
        examples = None
        if attack is not None:
            images = self._value("images", classifier, attack=attack)
            examples = ExamplesTarget(classifier, attack, images)
        defense = self._defense(figure, choice) if choice is not None else None
        name = choice.defense if choice else None
        images = self._value("images", classifier, name, attack)
        if examples is not None and examples.images is not None:
            images = min(images, examples.images)
        white_box_images = 0
        if choice and attack:
            white_box_images = self._value("white_box_images", classifier, name, attack)
        fooled_only = self.paper.counts_fooled_only(figure)
        return PaperCell(classifier, examples, defense, images, white_box_images, fooled_only)

    def shard(self, index: int, count: int) -> list[tuple[PaperFigure, PaperCell]]:
        """Return the cells of shard `index` of `count`; the first index is 1."""
        return self.cells[index - 1 :: count]

    def _classifier(self, figure: PaperFigure, paper_name: str) -> ClassifierTarget:
        name, dataset = (
            self.paper.classifier_name(paper_name),
            self.budget.dataset or figure.dataset,
        )
        passes = self.budget.value("classifier_passes", dataset, name)
        options = self.budget.value("classifier_options", dataset, name) or {}
        return ClassifierTarget(dataset, name, passes, tuple(sorted(_hashable(options).items())))

    def _defense(self, figure: PaperFigure, choice: PaperDefense) -> DefenseTarget:
        trained_with = choice.trained_with or figure.trained_with or figure.attacked_classifier
        classifier = self._classifier(figure, trained_with)
        budget_options = self._value("options", classifier, choice.defense) or {}
        options = _hashable({**choice.options, **budget_options})
        return DefenseTarget.from_choice(
            classifier,
            dataclasses.replace(choice, options=options),
            self._value("passes", classifier, choice.defense),
            self._value("train_images", classifier, choice.defense),
        )

    def _value(
        self,
        name: str,
        classifier: ClassifierTarget,
        defense: str | None = None,
        attack: str | None = None,
    ) -> Any:
        attack_name = attack.partition(":")[0] if attack else None
        return self.budget.value(name, classifier.dataset, classifier.name, defense, attack_name)


def order_targets(cells: Iterable[PaperCell], store: TargetStore) -> list[StoredTarget]:
    """Return the cells and what unmeasured cells need, each once, after its prerequisites."""
    found: dict[str, StoredTarget] = {}

    def visit(target: StoredTarget) -> None:
        if target.key in found:
            return
        for prerequisite in target.prerequisites():
            visit(prerequisite)
        found[target.key] = target

    for cell in cells:
        if cell.is_done(store):
            found[cell.key] = cell
        else:
            visit(cell)
    return list(found.values())


def _hashable(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options from TOML with tuples in place of lists."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
