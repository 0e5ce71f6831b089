"""Markdown pages about all tables of a paper: `README.md` and `choices.md`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfdefense.papers.comparison_tables import (
    COLUMNS,
    FigureComparison,
    TableMeans,
    comparison_row,
)
from tfdefense.papers.paper import Paper
from tfdefense.papers.targets import ClassifierTarget, DefenseTarget
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.tables import Markdown, escape_markdown, markdown_table

_SHORTFALL_POINTS = 3.0


def save_index(
    paper: Paper,
    tables: Mapping[str, Sequence[FigureComparison]],
    notes: Sequence[str],
    path: Path,
) -> None:
    """Write the means of every table, and each figure more than three points below the paper.

    Args:
      paper: the paper.
      tables: figures of each table, by its name.
      notes: notes on the images, one line each.
      path: file to write.
    """
    header = [["table", "measured", "paper's mean", "our mean", "white box"]]
    rows, shortfalls = [], []
    for table, comparisons in tables.items():
        means = TableMeans.of(comparisons)
        if means is None:
            continue
        rows.append(
            [
                Markdown(f"[{table}]({table}.md): {escape_markdown(paper.tables[table])}"),
                f"{means.measured} of {means.figures}",
                f"{means.paper:.2f}",
                f"{means.ours:.2f}",
                f"{means.white_box:.2f}" if means.white_box is not None else "-",
            ]
        )
        shortfalls += [_shortfall_row(each) for each in comparisons if _falls_short(each)]
    shortfall_header = [["table", "classifier", *COLUMNS[2:]]]
    text = [
        f"# {paper.title} ({paper.year})",
        "",
        "Mean accuracies over the measured figures, in percent. Each table lists its figures with n and interval.",
        *notes,
        "",
        *markdown_table(header + rows),
        "",
        *_chart_links(tables, path.parent),
        f"## More than {_SHORTFALL_POINTS:g} points below the paper",
        "",
        "Undefended classifiers under attack are left out: a lower accuracy there means a stronger attack.",
        "",
        *(markdown_table(shortfall_header + shortfalls) if shortfalls else ["None."]),
        "",
    ]
    write_text_file(path, "\n".join(text))


def _chart_links(tables: Iterable[str], directory: Path) -> list[str]:
    """Return a line with links to the line charts in the directory, and an empty line."""
    names = {table: f"{table}-lines.png" for table in tables}
    links = [f"[{table}]({name})" for table, name in names.items() if (directory / name).is_file()]
    return (
        [f"Accuracy over attacks, with a line per defence: {', '.join(links)}.", ""]
        if links
        else []
    )


def _falls_short(comparison: FigureComparison) -> bool:
    return comparison.difference < -_SHORTFALL_POINTS and not comparison.is_undefended_attack


def _shortfall_row(comparison: FigureComparison) -> list[str]:
    dataset, classifier, *others = comparison_row(comparison)
    return [comparison.figure.table, f"{classifier} ({dataset})", *others]


def save_choices(
    paper: Paper,
    classifiers: Iterable[ClassifierTarget],
    defenses: Iterable[DefenseTarget],
    path: Path,
) -> None:
    """Write what stands for each name of the paper and why, and how everything is trained."""
    choices = [["name in the paper", "here", "reason"]]
    text = [
        f"# {paper.title} ({paper.year}): choices that the paper leaves open",
        "",
        *markdown_table(choices + [list(row) for row in paper.list_choices()]),
        "",
        "## Training of classifiers and defences",
        "",
        *markdown_table([_CLASSIFIER_COLUMNS, *map(_classifier_row, classifiers)]),
        "",
        *markdown_table([_DEFENSE_COLUMNS, *map(_defense_row, defenses)]),
        "",
    ]
    write_text_file(path, "\n".join(text))


_CLASSIFIER_COLUMNS = ["dataset", "classifier", "changes to the recipe", "epochs"]
_DEFENSE_COLUMNS = [
    "dataset",
    "trained with",
    "defence",
    "changes to the defaults",
    "epochs",
    "training images",
    "trained on",
]


def _classifier_row(classifier: ClassifierTarget) -> list[str]:
    return [
        classifier.dataset,
        classifier.name,
        _options_text(classifier.options),
        "the recipe's" if classifier.passes is None else str(classifier.passes),
    ]


def _defense_row(defense: DefenseTarget) -> list[str]:
    images = "all" if defense.train_images is None else f"{defense.train_images:,}"
    has_training = defense.passes is not None
    return [
        defense.classifier.dataset,
        defense.classifier.name,
        defense.defense,
        _options_text(defense.options),
        str(defense.passes) if has_training else "-",
        images if has_training else "-",
        ", ".join(each.attack for each in defense.pairs) or "-",
    ]


def _options_text(options: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options) or "-"
