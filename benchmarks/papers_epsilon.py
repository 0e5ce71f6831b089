"""Test epsilon of FGSM and BIM in the first paper, which does not print it, by least squares.

    .venv/bin/python benchmarks/papers_epsilon.py runs/mnist-mnist_cnn runs/mnist-lenet --data_dir=DIR
    .venv/bin/python benchmarks/papers_epsilon.py --dataset=cifar10 runs/cifar10-cifar_cnn --data_dir=DIR
    .venv/bin/python benchmarks/papers_epsilon.py apeganpp/mnist/mnist_cnn apeganpp/mnist/lenet --data_dir=DIR

Classifiers are run directories, or pretrained purifiers with their classifier. FGSM and BIM attack
each of them, undefended, at each epsilon of a grid. Table II of the paper has the accuracies to
compare with. The chosen epsilon has the smallest root mean square of the differences, in percentage
points, over all classifiers and both attacks. The table and the picture also show the choice for
each classifier and attack alone. Classifiers of the table that are not given are named: without
them, the choice is partial. The last line is one JSON object: "ours" is the chosen epsilon, and
"peer" the one that `bin/reproduce` attacks with.
"""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tfdefense import classifiers, data, zoo
from tfdefense.attacks.core.radius import with_epsilon
from tfdefense.attacks.core.spec import parse_attack
from tfdefense.errors import UserError, require, unknown_name
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.papers.paper import load_paper
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.figures import COLORS, MARKERS, save_figure, subplots
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_share, markdown_table

PAPER, TABLE, ATTACKS = "apeganpp", "II", ("FGSM", "BIM")
GRIDS = {
    "mnist": (0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3, 0.35, 0.4),
    "cifar10": (0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.0175, 0.02, 0.025, 0.03, 0.04, 0.05),
}


def load_figures(paper, dataset):
    """Return (the paper's name of a classifier, attack) -> figure of the table."""
    figures = [each for each in paper.select([TABLE], dataset) if each.attack in ATTACKS]
    return {(figure.attacked_classifier, figure.attack): figure for figure in figures}


def open_classifier(given, dataset, names):
    """Return the paper's name of a classifier, and the classifier.

    Args:
      given: run directory, or name of a pretrained purifier.
      dataset: `Dataset` that it classifies.
      names: registered name -> the paper's name, of the classifiers in the table.
    """
    if given in zoo.names():
        _, source, name = given.split("/")
        require(
            source == dataset.name, f"{given}: is for {source}; --dataset={dataset.name} given."
        )
    else:
        run = RunDirectory(given)
        pretrained = ", ".join(zoo.names())
        require(run.exists(), f"{given}: neither a run directory nor one of {pretrained}.")
        name = run.require_kind("classifier").setting("classifier", str)
    if name not in names:
        raise unknown_name(f"classifier of table {TABLE}", name, names)
    if given in zoo.names():
        return names[name], zoo.load(given).classifier()
    return names[name], classifiers.load(given, dataset)


def count_correct(classifier, label, epsilons, test):
    """Return the number of images that withstand an attack, for each epsilon."""
    runner, attack = ModelRunner(classifier), parse_attack(label)
    counts = []
    for epsilon in epsilons:
        attacked = runner.attack(with_epsilon(attack, epsilon), test, show_progress=False)
        counts.append(int(np.sum(runner.predict(attacked) == test.labels)))
    return counts


def root_mean_squares(shares, figures, keys):
    """Return the root mean square of ours minus the paper's over `keys`, for each epsilon.

    Args:
      shares: key -> accuracies in [0, 1], one for each epsilon.
      figures: key -> the paper's figure.
      keys: the keys to average over.
    """
    differences = [100 * shares[key] - figures[key].accuracy_percent for key in keys]
    return np.sqrt(np.mean(np.square(differences), axis=0))


def find_errors(shares, figures):
    """Return what is fitted ("all", an attack or a classifier) -> its `root_mean_squares`."""
    groups = {"all": list(shares)}
    for position in (1, 0):
        for name in dict.fromkeys(key[position] for key in shares):
            groups[name] = [key for key in shares if key[position] == name]
    return {name: root_mean_squares(shares, figures, keys) for name, keys in groups.items()}


def draw(epsilons, shares, figures, errors, path):
    """Draw the errors and the accuracies over epsilon, with the paper's accuracies dotted."""
    figure, axes = subplots(1, 3, figsize=(11, 3.4))
    for name, color, marker in zip(errors, COLORS, MARKERS, strict=False):
        width = 2 if name == "all" else 1
        axes[0].plot(epsilons, errors[name], color=color, marker=marker, lw=width, ms=3, label=name)
    axes[0].set(ylabel="root mean square, percentage points", ylim=(0, None), xlabel="epsilon")
    axes[0].axvline(epsilons[np.argmin(errors["all"])], color="black", linewidth=0.8)
    names = list(dict.fromkeys(name for name, _ in shares))
    for axis, attack in zip(axes[1:], ATTACKS, strict=True):
        for name in names:
            color = COLORS[names.index(name) % len(COLORS)]
            axis.plot(
                epsilons, 100 * shares[name, attack], color=color, marker="o", ms=3, label=name
            )
            axis.axhline(figures[name, attack].accuracy_percent, color=color, linestyle=":")
        axis.set(title=f"{attack} (dotted: the paper's)", xlabel="epsilon", ylabel="accuracy, %")
    for axis in axes:
        axis.legend(frameon=False, fontsize=7)
    figure.tight_layout()
    save_figure(figure, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("classifiers", nargs="+", help="run directories or pretrained purifiers")
    parser.add_argument("--dataset", default="mnist", choices=GRIDS)
    parser.add_argument("--data_dir")
    parser.add_argument("--images", type=int, default=1000, help="test images")
    parser.add_argument("--epsilons", help="comma-separated; default: a grid for the dataset")
    parser.add_argument("--output", type=Path, default=Path("papers_epsilon.png"))
    arguments = parser.parse_args()
    require(arguments.images >= 1, f"--images={arguments.images}: at least 1 is needed.")
    epsilons = parse_epsilons(arguments)
    paper, dataset = load_paper(PAPER), data.load(arguments.dataset, arguments.data_dir)
    figures = load_figures(paper, arguments.dataset)
    names = {paper.classifier_name(name): name for name, _ in figures}
    test, counts = dataset.test.take(arguments.images), {}
    for given in arguments.classifiers:
        name, classifier = open_classifier(given, dataset, names)
        require((name, ATTACKS[0]) not in counts, f"{given}: a second {name}. Give it once.")
        for attack in ATTACKS:
            label = paper.attack_label(figures[name, attack])
            counts[name, attack] = count_correct(classifier, label, epsilons, test)
            print(
                json.dumps({"classifier": name, "attack": attack, "correct": counts[name, attack]})
            )
            sys.stdout.flush()
    shares = {key: np.array(values) / len(test) for key, values in counts.items()}
    errors = find_errors(shares, figures)
    best = {name: epsilons[np.argmin(values)] for name, values in errors.items()}
    at = epsilons.index(best["all"])
    header = ["classifier", "attack", "the paper's", f"ours at {best['all']:g}"]
    rows = [
        [
            *key,
            f"{figures[key].accuracy_percent:.2f}%",
            format_share(shares[key][at], *wilson_interval(counts[key][at], len(test)), len(test)),
        ]
        for key in counts
    ]
    print("\n".join(markdown_table([header, *rows])))
    draw(epsilons, shares, figures, errors, arguments.output)
    print(f"{arguments.output} written")
    used = parse_attack(paper.attack_label(next(iter(figures.values())))).epsilon
    result = {
        "benchmark": "papers_epsilon",
        "dataset": arguments.dataset,
        "n": len(test),
        "missing": sorted({name for name, _ in figures} - {name for name, _ in counts}),
        "epsilons": epsilons,
        "correct": {f"{name}, {attack}": values for (name, attack), values in counts.items()},
        "root_mean_square": {name: np.round(values, 2).tolist() for name, values in errors.items()},
        "best": best,
        "ours": best["all"],
        "peer": used,
        "ratio": round(best["all"] / used, 3),
        "unit": "epsilon",
    }
    print(json.dumps(result))


def parse_epsilons(arguments):
    """Return the grid of epsilons, in ascending order."""
    if arguments.epsilons is None:
        return list(GRIDS[arguments.dataset])
    try:
        epsilons = sorted({float(part) for part in arguments.epsilons.split(",")})
    except ValueError:
        epsilons = []
    require(
        epsilons and all(0 < epsilon <= 1 for epsilon in epsilons),
        f"--epsilons={arguments.epsilons}: numbers above 0 and up to 1, separated by commas, needed.",
    )
    return epsilons


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"papers_epsilon: {error}", file=sys.stderr)
        sys.exit(2)
