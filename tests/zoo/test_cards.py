"""Model cards: their figures are those of the pages, and a lowered figure is marked."""

import re
import warnings
from typing import NamedTuple

import pytest

from tests.docs.markdown import ROOT
from tfdefense import zoo
from tfdefense.zoo.pretrained import MODELS


class Cell(NamedTuple):
    """A cell of a card's table, such as "54.4% [50.0, 58.7] n=500"."""

    accuracy: str
    interval: str
    n: str

    def __str__(self):
        return f"{self.accuracy} {self.interval} n={self.n}"


def card_of(name):
    return (MODELS / name / "card.md").read_text()


def cells(name):
    """Return the row and column of a card's table -> `Cell`."""
    lines = [line for line in card_of(name).splitlines() if line.startswith("| ")]
    header, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found = {}
    for title, *values in rows:
        for column, value in zip(header[1:], values, strict=True):
            match = re.fullmatch(r"([\d.]+%) (\[[\d., ]+\]) n=([\d,]+)", value)
            if match:
                found[title.split()[0], column.rpartition(", ")[2]] = Cell(*match.groups())
    return found


def plain(text):
    """Return Markdown on one line, without bold and without spaces before "%"."""
    return " ".join(text.replace("**", "").split()).replace(" %", "%")


# A figure of the card in braces: the row, a slash, and the column.
FIGURES = [
    (
        "robust_purifier/gtsrb/cifar_cnn",
        "docs/explanation/colour.md",
        "| GTSRB, lossless | {none/undefended} | {none/white box} | {worst_case/white box} (APGD-CE,",
    ),
    (
        "robust_purifier/cifar10/cifar_cnn",
        "docs/explanation/colour.md",
        "| CIFAR-10, re-encoded as JPEG | {none/undefended} | {none/white box} |"
        " {worst_case/white box} (the same",
    ),
    (
        "robust_purifier/mnist/mnist_cnn",
        "docs/explanation/robustness.md",
        "leaves {auto_attack/white box:bare} of the first 1,000 test images;"
        " {none/white box:accuracy} of them are correct without an attack",
    ),
    (
        "robust_purifier/mnist/mnist_cnn",
        "README.md",
        "| `robust_purifier` | 99.1% [98.9, 99.3] n=10,000 | not measured | {auto_attack/white box} (",
    ),
    (
        "robust_purifier/gtsrb/cifar_cnn",
        "README.md",
        "| traffic signs: `robust_purifier/gtsrb/cifar_cnn` | {none/white box} | not measured |"
        " {worst_case/white box} (APGD-CE",
    ),
    (
        "robust_purifier/cifar10/cifar_cnn",
        "README.md",
        "| CIFAR-10 as JPEG: `robust_purifier/cifar10/cifar_cnn` | {none/white box} | not measured |"
        " {worst_case/white box} (the same",
    ),
    (
        "apeganpp/mnist/mnist_cnn",
        "docs/guides/defenses.md",
        "grey box: clean {none/grey box:accuracy}, FGSM {fgsm/grey box:accuracy}, BIM"
        " {bim/grey box:accuracy}, PGD {pgd/grey box:accuracy}, worst case of these with APGD-CE and"
        " Square {worst_case/grey box:bare}",
    ),
    (
        "apeganpp/mnist/lenet",
        "docs/results/differences.md",
        "| LeNet behind its own APE-GAN++ | worst case | {worst_case/white box:bare}, n ="
        " {worst_case/white box:n} |",
    ),
]


def filled(template, name):
    found = cells(name)

    def figure(match):
        row, column, form = match.groups()
        cell = found[row, column]
        forms = {"": str(cell), "bare": f"{cell.accuracy} {cell.interval}", **cell._asdict()}
        return forms[form or ""]

    return re.sub(r"{([^/}]+)/([^:}]+):?(\w+)?}", figure, template)


@pytest.mark.parametrize(("name", "page", "template"), FIGURES)
def test_a_page_has_the_figures_of_the_card(name, page, template):
    assert plain(filled(template, name)) in plain((ROOT / page).read_text())


@pytest.mark.parametrize("name", [name for name in zoo.names() if name.startswith("robust")])
def test_the_summary_has_the_white_box_figure_of_the_strongest_row(name):
    found = cells(name)
    strongest = found.get(("auto_attack", "white box"), found["worst_case", "white box"])
    summary = plain(card_of(name)).partition(" | ")[0]
    assert f"is {strongest.accuracy} (n = {strongest.n})" in summary
    clean = found["none", "white box"]
    assert f"{clean.accuracy} of {clean.n} clean test images" in summary
    white_box = [cell for (_, column), cell in found.items() if column == "white box"]
    assert strongest.accuracy == min((cell.accuracy for cell in white_box), key=percent)


def percent(accuracy):
    return float(accuracy.removesuffix("%"))


def test_a_card_whose_figure_was_lowered_is_marked_and_quotes_the_guide():
    name = "apeganpp/mnist/mnist_cnn"
    with pytest.warns(UserWarning, match="its card is unreliable: White box, BIM leaves 33 of 100"):
        reason = zoo.load(name).unreliable
    assert f"**Unreliable.** {reason}" in " ".join(card_of(name).split())
    assert reason in " ".join((ROOT / "docs/guides/defenses.md").read_text().split())
    lowered, *_ = re.findall(r"APGD-T ([\d.]+) % (\[[^]]+\])", reason)
    differences = (ROOT / "docs/results/differences.md").read_text()
    assert f"| worst case with APGD-T | **{lowered[0]} %** {lowered[1]}, n = 100 |" in differences
    assert percent(lowered[0]) < percent(cells(name)["worst_case", "white box"].accuracy)


def test_no_other_card_is_marked():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reasons = [
            zoo.load(name).unreliable for name in zoo.names() if name != "apeganpp/mnist/mnist_cnn"
        ]
    assert not any(reasons)
