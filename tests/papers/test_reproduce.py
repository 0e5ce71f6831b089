"""The small paper, reproduced on the embedded digits: a new paper is two new files.

The grid is made once; tests read its results, or change a copy.
"""

import csv
import json
import shutil
import signal
import types
from pathlib import Path

import numpy as np
import pytest

import tfdefense
from tests.papers.conftest import run_command, squeeze, working_folder
from tfdefense.attacks import FGSM
from tfdefense.classifiers import FrozenClassifier
from tfdefense.cli.main import main
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.papers import reproduce, results_folder
from tfdefense.papers.reproduce import FigureSelection, Reproduction
from tfdefense.papers.store import TargetStore


@pytest.fixture(scope="module")
def all_tables(small_papers, tmp_path_factory):
    """All tables, planned and then made, in an empty folder."""
    folder = tmp_path_factory.mktemp("all_tables")
    with working_folder(folder, small_papers):
        plan = run_command("--all", "--dry_run")
        plan_made_files = any(folder.iterdir())
        run = run_command("--all")
    results = folder / "results" / "small"
    return types.SimpleNamespace(
        folder=folder, results=results, plan=plan, plan_made_files=plan_made_files, run=run
    )


@pytest.fixture
def copy_of_all_tables(all_tables, small):
    shutil.copytree(all_tables.folder, small, dirs_exist_ok=True)
    return small


@pytest.mark.slow
def test_a_dry_run_prints_the_plan_and_writes_nothing(all_tables):
    assert all_tables.plan.status == 0
    assert not all_tables.plan_made_files
    assert "classifiers     2 needed,    2 to make" in all_tables.plan.printed
    assert "cells           4 needed,    4 to make" in all_tables.plan.printed


@pytest.mark.slow
def test_all_targets_are_made(all_tables):
    assert all_tables.run.status == 0
    assert "0 of 10 targets exist; 10 to make" in all_tables.run.printed


@pytest.mark.slow
def test_the_csv_has_the_printed_and_the_measured_accuracies(all_tables):
    with (all_tables.results / "2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["accuracy_percent"] for row in rows] == ["80.0", "20.0"]
    for row in rows:
        low, ours, high = (float(row[name]) for name in ("ci_low", "ours_percent", "ci_high"))
        assert 0 <= low <= ours <= high <= 100
        assert 1 <= int(row["n"]) <= 12  # Only images that fooled the classifier count.
        assert int(row["white_box_n"]) == 2


@pytest.mark.slow
def test_the_markdown_table_has_n_and_versions(all_tables):
    markdown = (all_tables.results / "1.md").read_text()
    assert "2 of 2 figures measured" in markdown
    assert "n=12" in markdown
    command = "bin/reproduce --paper=small --budget=smoke"
    assert f"Made by `{command}`, with tfdefense {tfdefense.__version__}, " in markdown


@pytest.mark.slow
def test_the_records_have_figures_and_cells(all_tables):
    records = json.loads((all_tables.results / "2.json").read_text())
    assert [record["figure"]["accuracy_percent"] for record in records] == [80.0, 20.0]
    assert all(record["cell"]["white_box"]["n"] == 2 for record in records)


@pytest.mark.slow
def test_the_index_has_the_means_of_each_table(all_tables):
    index = squeeze((all_tables.results / "README.md").read_text())
    assert "| [2](2.md): two defences | 2 of 2 | 50.00 |" in index
    assert "## More than 3 points below the paper" in index


@pytest.mark.slow
def test_the_choices_list_attacks_defences_and_training(all_tables):
    choices = squeeze((all_tables.results / "choices.md").read_text())
    assert "| Rounding | bit_depth | because |" in choices
    assert "| digits | lenet | magnet | - | 1 | all | - |" in choices
    assert "| digits | mnist_cnn | - | 2 |" in choices


@pytest.mark.slow
def test_tables_are_also_latex_and_a_picture(all_tables):
    assert (all_tables.results / "1.tex").read_text().count(r"\\") == 3
    assert (all_tables.results / "2.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_damaged_files_are_made_again(copy_of_all_tables):
    results = copy_of_all_tables / "results" / "small"
    picture = (results / "2.svg").read_bytes()
    cell = min((copy_of_all_tables / "runs" / "reproduce" / "cells").iterdir())
    before = cell.read_text()
    cell.write_text(before[:40])
    for table in "12":
        (results / f"{table}.json").write_text("[{")
    run = run_command("--all")
    assert run.status == 0
    assert "2.json: damaged; its cells are measured again." in run.printed
    # The other three cells are complete, and so is everything that the damaged one needs.
    assert "; 1 to make" in run.printed
    assert json.loads(cell.read_text())["ours"] == json.loads(before)["ours"]
    assert (results / "2.svg").read_bytes() == picture


@pytest.mark.slow
def test_a_cell_agrees_with_a_few_lines_of_numpy(copy_of_all_tables):
    selection, results = FigureSelection("small", ["2"]), copy_of_all_tables / "results"
    runs = TargetStore(Path("runs/reproduce"))
    reproduction = Reproduction(selection, "smoke", runs, results)
    (_, cell), _ = reproduction.grid.cells
    test = tfdefense.data.load("digits").test.take(12)
    model = cell.classifier.load(reproduction.store)
    adversarial = FGSM(epsilon=0.3)(model, test.images, test.labels)
    is_right_on_clean = np.argmax(model(test.images), -1) == test.labels
    is_right_on_adversarial = np.argmax(model(adversarial), -1) == test.labels
    # An image that is wrong before and after the attack does not count.
    assert np.any(~is_right_on_clean & ~is_right_on_adversarial)
    is_fooled = is_right_on_clean & ~is_right_on_adversarial
    rounded = np.round(adversarial)  # One bit per pixel.
    is_right = np.argmax(model(rounded), -1) == test.labels
    measurement = cell.measurement(reproduction.store)
    assert measurement.ours.correct == is_right[is_fooled].sum()
    assert measurement.ours.n == is_fooled.sum()
    assert (measurement.undefended.correct, measurement.undefended.n) == (0, is_fooled.sum())


@pytest.fixture
def predictions_alone(monkeypatch):
    """List of the numbers of images that a classifier without a defence has predicted."""
    found = []
    predict = ModelRunner.predict

    def count_and_predict(runner, split, title=None):
        if isinstance(runner.model, FrozenClassifier):
            found.append(len(split))
        return predict(runner, split, title)

    monkeypatch.setattr(ModelRunner, "predict", count_and_predict)
    return found


def read_counts(folder):
    """Return the counts of the cells in a store, by the name of their file."""
    records = {path.name: json.loads(path.read_text()) for path in (folder / "cells").iterdir()}
    names = ("ours", "undefended", "white_box")
    return {file: [record[name] for name in names] for file, record in records.items()}


@pytest.mark.slow
def test_cells_share_the_predictions_of_the_classifier_alone(copy_of_all_tables, predictions_alone):
    store = copy_of_all_tables / "runs/reproduce"
    before = read_counts(store)

    def measure_again(*folders):
        predictions_alone.clear()
        for folder in ("cells", *folders):
            shutil.rmtree(store / folder)
        shutil.rmtree(copy_of_all_tables / "results")
        assert run_command("--all").status == 0
        assert read_counts(store) == before
        return predictions_alone

    # Six needs: table 1 has two cells, and both cells of table 2 need benign images and examples.
    assert measure_again("predictions") == [12, 12, 12, 12]
    assert measure_again() == []
    damaged, other_schema, *_ = sorted((store / "predictions").iterdir())
    damaged.write_text('{"schema": 1, "predicted": [1')
    other_schema.write_text('{"schema": 0, "predicted": [1]}')
    assert measure_again() == [12, 12]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--paper=small"], "--tables: none given"),
        (["--budget=smoke"], "--paper: none given"),
        (["--paper=smal", "--all"], "unknown --paper 'smal'. Did you mean 'small'"),
        (["--paper=small", "--tables=3"], "unknown table of --paper=small '3'"),
        (["--paper=small", "--tables=1", "--all"], "--tables: not allowed with --all"),
        (["--paper=small", "--all", "--dataset=cifar10"], "unknown dataset 'cifar10'"),
        (["--paper=small", "--all", "--classifiers=Nett"], "unknown classifier 'Nett'. Did you"),
        (
            ["--paper=small", "--tables=1", "--classifiers=Other"],
            "--tables=1: has no figures for --classifiers=Other",
        ),
        (["--paper=small", "--all", "--budget=huge"], "unknown --budget 'huge'. "),
        (
            ["--paper=small", "--all", "--shard=3/2"],
            "--shard=3/2: I/N with I from 1 to N is needed",
        ),
        (
            ["--paper=small", "--all", "--shard=0/2"],
            "--shard=0/2: I/N with I from 1 to N is needed",
        ),
        (
            ["--paper=small", "--all", "--shard=one"],
            "--shard=one: I/N with I from 1 to N is needed",
        ),
        (
            ["--paper=small", "--all", "--output=foreign"],
            "foreign/small has other files and no made.json",
        ),
        (
            ["--paper=small", "--all", "--output=other"],
            "has results of --budget=smoke, schema 1, but --budget=cpu, schema 1, is given",
        ),
        (["--paper=small", "--all", "--output=damaged"], "made.json: damaged"),
        (
            ["--paper=small", "--all", "--budget=smoke", "--output=file/below"],
            "--output=file/below: cannot be written",
        ),
    ],
)
def test_invalid_flags_are_rejected(small, flags, message, capsys):
    for name, content in (
        ("foreign", "x"),
        ("other", json.dumps({"schema": 1, "budget": "smoke"})),
        ("damaged", "{"),
    ):
        (small / name / "small").mkdir(parents=True)
        file = "notes.txt" if name == "foreign" else "made.json"
        (small / name / "small" / file).write_text(content)
    (small / "file").write_text("not a folder")
    assert main(["reproduce", *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (small / "runs").exists()


def test_a_table_without_measurements_is_written(small):
    runs = TargetStore(small / "store")
    reproduction = Reproduction(FigureSelection("small"), "smoke", runs, small / "results")
    assert results_folder.SCHEMA == 1
    reproduction.write()
    table = (small / "results" / "small" / "1.md").read_text()
    assert "None of 2 figures measured" in table
    assert "Not measured yet. Measure it with: `bin/reproduce" in table


@pytest.mark.slow
def test_tables_keep_what_a_call_with_another_store_has_measured_meanwhile(copy_of_all_tables):
    results, aside = copy_of_all_tables / "results", copy_of_all_tables / "aside"
    measured = (results / "small" / "2.csv").read_text()
    results.rename(aside)
    other = TargetStore(copy_of_all_tables / "other")
    reproduction = Reproduction(FigureSelection("small"), "smoke", other, results)
    aside.rename(results)
    reproduction.write()
    assert (results / "small" / "2.csv").read_text() == measured


def test_sigterm_between_trainings_still_writes_the_tables(
    small, monkeypatch, capsys, sigterm_is_harmless
):
    def receive_sigterm(*_):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(reproduce, "make_targets", receive_sigterm)
    assert main(["reproduce", "--paper=small", "--all", "--budget=smoke"]) == 143
    assert "paper small: stopped by SIGTERM. Repeat the command" in capsys.readouterr().err
    assert (small / "results" / "small" / "1.md").is_file()
    assert signal.getsignal(signal.SIGTERM) is sigterm_is_harmless
