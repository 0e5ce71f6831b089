"""From the figures of a paper to the cells, and all that they need, under a budget."""

from collections.abc import Iterable, Mapping, Sequence

from tfdefense.papers.budget import Budget
from tfdefense.papers.measurements import Cell
from tfdefense.papers.paper import Figure, Paper
from tfdefense.papers.store import Store
from tfdefense.papers.targets import Artefact, Classifier, Examples, Trained


class Grid:
    """Figures and their cells.

    Args:
      paper: whose.
      figures: of its figures, those that are wanted.
      budget: how much is computed.
    """

    def __init__(self, paper: Paper, figures: Sequence[Figure], budget: Budget) -> None:
        self.paper = paper
        self.budget = budget
        self.cells = [(figure, self.cell(figure)) for figure in figures]

    def cell(self, figure: Figure) -> Cell:
        """What must be measured for a figure."""
        classifier = self._classifier(figure, figure.attacked_classifier)
        attack, named = self.paper.attack(figure), self.paper.defense(figure)
        examples, defense = None, None
        if attack is not None:
            images = self._value("images", classifier, attack=attack)
            examples = Examples(classifier, attack, images)
        if named is not None:
            trained_with = named.trained_with or figure.trained_with or figure.attacked_classifier
            before = self._classifier(figure, trained_with)
            options = {
                **named.options,
                **(self._value("options", before, named.defense) or {}),
            }
            options = _hashable(options)
            passes = self._value("passes", before, named.defense)
            few = self._value("train_images", before, named.defense)
            defense = Trained.of(before, named.defense, options, passes, few, named.pairs)
        of = named.defense if named else None
        images = self._value("images", classifier, of, attack)
        return Cell(
            classifier,
            examples,
            defense,
            min(images, examples.images) if examples else images,
            self._value("white_box_images", classifier, of, attack) if named and attack else 0,
            self.paper.fooled_only(figure),
        )

    def of_shard(self, index: int, count: int) -> list[tuple[Figure, Cell]]:
        """The figures and cells of shard `index` of `count`, from 1 on."""
        return self.cells[index - 1 :: count]

    def _classifier(self, figure: Figure, name: str) -> Classifier:
        name, dataset = self.paper.classifier(name), self.budget.dataset or figure.dataset
        passes = self.budget.value("classifier_passes", dataset, name)
        options = self.budget.value("classifier_options", dataset, name) or {}
        return Classifier(dataset, name, passes, tuple(sorted(_hashable(options).items())))

    def _value(
        self,
        name: str,
        classifier: Classifier,
        defense: str | None = None,
        attack: str | None = None,
    ) -> object:
        short = attack.partition(":")[0] if attack else None
        return self.budget.value(name, classifier.dataset, classifier.name, defense, short)


def in_order(cells: Iterable[Cell], store: Store) -> list[Artefact]:
    """The cells, and all that those not measured yet need, each once, and after what it needs."""
    found: dict[str, Artefact] = {}

    def visit(artefact: Artefact) -> None:
        if artefact.key in found:
            return
        for needed in artefact.needs():
            visit(needed)
        found[artefact.key] = artefact

    for cell in cells:
        if cell.is_done(store):
            found[cell.key] = cell
        else:
            visit(cell)
    return list(found.values())


def _hashable(options: Mapping[str, object]) -> dict[str, object]:
    """Options as TOML has them, with tuples in place of lists."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
