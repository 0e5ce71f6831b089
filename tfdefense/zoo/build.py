"""Makes the zoo from what `bin/reproduce` trained and measured.

python -m tfdefense.zoo.build STORE         # the folder of its --store
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from tfdefense.errors import UserError, WorkFailed, require
from tfdefense.evaluation.judge import Judge
from tfdefense.evaluation.tables import markdown_table, share_cell
from tfdefense.papers import budget as budgets
from tfdefense.papers import paper as papers
from tfdefense.papers.artefacts import Trained
from tfdefense.papers.cells import Cell, Measured
from tfdefense.papers.grid import Grid
from tfdefense.papers.store import Store
from tfdefense.progress import say
from tfdefense.runs import versions
from tfdefense.zoo.pretrained import MODELS, load, save

_PAPER, _BUDGET, _DATASET, _DEFENSE = "apeganpp", "cpu", "mnist", "apeganpp"


def build(store: Store, models: Path = MODELS) -> list[str]:
    """Writes a model for each classifier that the paper trains its purifier before; returns their names.

    Raises:
      UserError: one of them is not trained or not measured yet.
    """
    paper = papers.load(_PAPER)
    grid = Grid(paper, paper.chosen(dataset=_DATASET), budgets.load(_BUDGET))
    cells: dict[Trained, list[Cell]] = {}
    for _, cell in grid.cells:
        if cell.defense is not None and cell.defense.defense == _DEFENSE:
            cells.setdefault(cell.defense, []).append(cell)
    return [_save(trained, measured, store, models) for trained, measured in cells.items()]


def _save(trained: Trained, cells: Sequence[Cell], store: Store, models: Path) -> str:
    for needed in (trained, *cells):
        require(needed.is_done(store), f"STORE={store.path}: no {needed.title} in it yet.")
    name = f"{trained.defense}/{trained.classifier.dataset}/{trained.classifier.name}"
    defense = trained.load(store)
    directory = save(defense, name, "", models)
    test = store.dataset(trained.classifier.dataset).test
    before = Judge(defense.defend()).predict(test)
    after = Judge(load(name, models).before(defense.classifier).defend()).predict(test)
    kept = f"{int((before == after).sum()):,} of {len(test):,}"
    clean = Measured(int((after == test.labels).sum()), len(test))
    (directory / "card.md").write_text(_card(name, trained, cells, store, clean, kept))
    say(f"{name}: the class that float32 weights give on {kept} clean test images. {directory}")
    return name


def _card(
    name: str,
    trained: Trained,
    cells: Sequence[Cell],
    store: Store,
    clean: Measured,
    kept: str,
) -> str:
    header = ["classifier", "attack", "undefended", "grey box", "white box"]
    rows = [[trained.classifier.name, "none", "-", _share(clean), "-"]]
    for cell in cells:
        found = cell.outcome(store)
        grey_and_white = _share(found.ours), _share(found.white_box)
        attack = cell.examples.attack
        rows.append([cell.classifier.name, attack, _share(found.undefended), *grey_and_white])
    data = store.dataset(trained.classifier.dataset)
    images = "all" if trained.train_images is None else f"the first {trained.train_images:,}"
    options = "".join(f", {key}={value}" for key, value in trained.options)
    lines = [
        f"# {name}",
        "",
        f"The generator of {trained.defense}, trained on {data.name} before {trained.classifier.name}: images"
        f" {data.image_shape} in [0, 1] go in, and come out cleaned.",
        "",
        "**It holds against attackers who know the classifier alone (grey box). One who knows the purifier too gets through"
        " (white box).** Share of test images that are classified correctly, with 95 % intervals:",
        "",
        *markdown_table([header, *rows]),
        "",
        f"- {trained.passes} passes over {images} training images, seed 0{options}; else the defaults.",
        f"- Weights are kept in float16. On clean test images they give the class of the float32 ones {kept} times.",
        f"- Versions: {', '.join(f'{key} {value}' for key, value in versions().items())}.",
        *([f"- {data.test.note}"] if data.test.note else []),
        "",
    ]
    return "\n".join(lines)


def _share(measured: Measured | None) -> str:
    if measured is None or not measured.n:
        return "-"
    low, high = measured.interval
    return share_cell(measured.percent / 100, low / 100, high / 100, measured.n)


def main(arguments: Sequence[str]) -> int:
    """The command."""
    try:
        require(len(arguments) == 1, "STORE: one folder needed, that bin/reproduce --store filled.")
        build(Store(Path(arguments[0])))
    except (UserError, WorkFailed) as error:
        print(f"tfdefense.zoo.build: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
