"""A small paper of our own, reproduced on the embedded digits: a new paper is a new file."""

import csv
import dataclasses
import json

import numpy as np
import pytest

import tfdefense
from tfdefense.attacks import FGSM
from tfdefense.cli.main import main
from tfdefense.errors import UserError
from tfdefense.papers import paper, store
from tfdefense.papers import reproduce as reproduce_module
from tfdefense.papers.records import versions_and_notes, save_index
from tfdefense.papers.reproduce import Reproduction
from tfdefense.papers.store import TargetStore

TOML = """
title = "A Small Paper"
year = 2026
[tables]
1 = "nothing"
2 = "two defences"
[fooled_only]
tables = ["2"]
[classifiers]
"Net" = "lenet"
"Other" = "mnist_cnn"
[attacks.mnist]
"FGSM" = { attack = "fgsm:epsilon=0.3", reason = "because" }
[defenses]
"Rounding" = { defense = "bit_depth", reason = "because" }
"MagNet" = { defense = "magnet", trained_with = "Net", reason = "because" }
"""
CSV = """paper,table,dataset,attacked_classifier,defense,trained_with,attack,accuracy_percent
small,1,mnist,Net,none,,benign,99.0
small,1,mnist,Net,none,,FGSM,10.0
small,2,mnist,Net,Rounding,,FGSM,80.0
small,2,mnist,Other,MagNet,,FGSM,20.0
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A directory with a paper in it; commands run there."""
    place = tmp_path / "papers"
    place.mkdir()
    (place / "small.csv").write_text(CSV)
    (place / "small.toml").write_text(TOML)
    monkeypatch.setattr(paper, "_HERE", place)
    paper.load_paper.cache_clear()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    paper.load_paper.cache_clear()


COMMAND = ["reproduce", "--paper=small", "--all", "--budget=smoke"]


def test_a_paper_is_reproduced_and_gone_on_with(small, capsys):
    assert main([*COMMAND, "--dry_run"]) == 0
    assert not (small / "runs").exists()
    plan = capsys.readouterr().out
    assert "classifiers     2 needed,    2 to make" in plan
    assert "cells           4 needed,    4 to make" in plan

    assert main(COMMAND) == 0
    said = capsys.readouterr().out
    assert "0 of 10 artefacts are there; 10 to make" in said
    assert (small / "results" / "small" / "2.json").is_file()
    with (small / "results" / "small" / "2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["accuracy_percent"] for row in rows] == ["80.0", "20.0"]
    for row in rows:
        assert (
            0 <= float(row["ci_low"]) <= float(row["ours_percent"]) <= float(row["ci_high"]) <= 100
        )
        assert 1 <= int(row["n"]) <= 12  # Of those that fooled the classifier.
        assert int(row["white_box_n"]) == 2
    markdown = (small / "results" / "small" / "1.md").read_text()
    assert "2 of 2 figures measured" in markdown
    assert "n=12" in markdown
    assert (
        f"Made by `bin/reproduce --paper=small --budget=smoke`, with tfdefense {tfdefense.__version__}, "
        in markdown
    )
    records = json.loads((small / "results" / "small" / "2.json").read_text())
    assert [record["figure"]["accuracy_percent"] for record in records] == [80.0, 20.0]
    assert all(record["cell"]["white_box"]["n"] == 2 for record in records)
    index = (small / "results" / "small" / "README.md").read_text()
    assert "| [2](2.md): two defences | 2 of 2 | 50.00 |" in index
    assert "## More than 3 points below the paper" in index
    choices = (small / "results" / "small" / "choices.md").read_text()
    assert "| Rounding | bit_depth | because |" in choices
    assert "| digits | lenet | magnet | - | 1 | all | - |" in choices
    assert "| digits | mnist_cnn | - | 2 |" in choices
    assert (small / "results" / "small" / "1.tex").read_text().count(r"\\") == 3
    assert (small / "results" / "small" / "2.png").read_bytes().startswith(b"\x89PNG")

    picture = (small / "results" / "small" / "2.svg").read_bytes()
    cells = sorted((small / "runs" / "reproduce" / "cells").iterdir())
    before = {path: path.read_text() for path in cells}
    cells[0].write_text(cells[0].read_text()[:40])  # Half-written by somebody.
    for table in "12":
        (small / "results" / "small" / f"{table}.json").write_text("[{")  # So are these.
    assert main(COMMAND) == 0
    said = capsys.readouterr().out
    assert "2.json: damaged; what it told is measured again." in said
    # The three cells that are whole, what the fourth needs, and itself.
    assert "; 1 to make" in said
    again = json.loads(cells[0].read_text())
    assert again["ours"] == json.loads(before[cells[0]])["ours"]
    assert (small / "results" / "small" / "2.svg").read_bytes() == picture


def test_what_stands_in_the_results_is_not_measured_again_elsewhere(small, capsys):
    assert main([*COMMAND[:2], "--tables=1", *COMMAND[3:]]) == 0
    table = small / "results" / "small" / "1.md"
    before = table.read_text()
    capsys.readouterr()
    assert main([*COMMAND, "--store=another", "--dry_run"]) == 0
    assert "cells           4 needed,    2 to make" in capsys.readouterr().out
    assert main([*COMMAND[:2], "--tables=1", *COMMAND[3:], "--store=another"]) == 0
    assert "2 of 2 artefacts are there; 0 to make" in capsys.readouterr().out
    assert table.read_text() == before
    assert not (small / "another" / "classifiers").exists()


def test_a_cell_is_what_a_few_lines_of_numpy_measure(small):
    reproduction = Reproduction("small", "smoke", TargetStore(small / "store"), small / "results", ["2"])
    reproduction.run()
    (_, cell), _ = reproduction.grid.cells
    test = tfdefense.data.load("digits").test.take(12)
    model = cell.classifier.load(reproduction.store)
    adversarial = FGSM(epsilon=0.3)(model, test.images, test.labels)
    clean_right = np.argmax(model(test.images), -1) == test.labels
    attacked_right = np.argmax(model(adversarial), -1) == test.labels
    fooled = clean_right & ~attacked_right
    right = np.argmax(model(np.round(adversarial)), -1) == test.labels  # One bit a pixel.
    outcome = cell.outcome(reproduction.store)
    assert (outcome.ours.correct, outcome.ours.n) == (right[fooled].sum(), fooled.sum())
    assert (outcome.undefended.correct, outcome.undefended.n) == (0, fooled.sum())


def test_shards_fill_one_table_together(small, capsys):
    assert main([*COMMAND[:2], "--tables=1", *COMMAND[3:], "--shard=1/2"]) == 0
    assert "1 of 2 figures measured" in capsys.readouterr().out
    assert main([*COMMAND[:2], "--tables=1", *COMMAND[3:], "--shard=2/2"]) == 0
    said = capsys.readouterr().out
    assert "1 of 3 artefacts are there; 2 to make" in said  # The classifier is there.
    assert "2 of 2 figures measured" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--paper=small"], "--tables: none given; --all for all of them"),
        (["--budget=smoke"], "--paper: none given, of small; or --all"),
        (["--paper=smal", "--all"], "unknown --paper 'smal'. Did you mean 'small'"),
        (["--paper=small", "--tables=3"], "unknown table of --paper=small '3'"),
        (["--paper=small", "--tables=1", "--all"], "--tables: not with --all"),
        (["--paper=small", "--all", "--dataset=cifar10"], "unknown dataset 'cifar10'"),
        (["--paper=small", "--all", "--classifiers=Nett"], "unknown classifier 'Nett'. Did you"),
        (
            ["--paper=small", "--tables=1", "--classifiers=Other"],
            "--tables=1: has no figures of --classifiers=Other alone",
        ),
        (["--paper=small", "--all", "--budget=huge"], "unknown --budget 'huge'. "),
        (["--paper=small", "--all", "--shard=3/2"], "--shard=3/2: I/N with I from 1 to N needed"),
        (["--paper=small", "--all", "--shard=0/2"], "--shard=0/2: I/N with I from 1 to N needed"),
        (["--paper=small", "--all", "--shard=one"], "--shard=one: I/N with I from 1 to N needed"),
        (["--paper=small", "--all", "--output=foreign"], "foreign/small holds something else"),
        (
            ["--paper=small", "--all", "--output=other"],
            "holds results of --budget=smoke, schema 1; cpu, schema 1, given",
        ),
        (["--paper=small", "--all", "--output=damaged"], "made.json: damaged"),
        (
            ["--paper=small", "--all", "--budget=smoke", "--output=file/below"],
            "--output=file/below: cannot be written",
        ),
    ],
)
def test_bad_input(small, flags, said, capsys):
    for name, content in (
        ("foreign", "x"),
        ("other", json.dumps({"schema": 1, "budget": "smoke"})),
        ("damaged", "{"),
    ):
        (small / name / "small").mkdir(parents=True)
        file = "notes.txt" if name == "foreign" else "made.json"
        (small / name / "small" / file).write_text(content)
    (small / "file").write_text("in the way")
    assert main(["reproduce", *flags]) == 2
    assert said in capsys.readouterr().err
    assert not (small / "runs").exists()


@pytest.fixture
def other_images(monkeypatch):
    """A call after which the embedded digits are a lossy copy of themselves."""
    digits = tfdefense.data.load("digits")
    lossy = dataclasses.replace(digits.test, images=digits.test.images.round(1))
    lossy = dataclasses.replace(digits, test=lossy)

    def replace():
        store._fingerprints.cache_clear()
        monkeypatch.setattr(store, "_dataset", lambda name, data_dir: lossy)

    store._fingerprints.cache_clear()
    yield replace
    store._fingerprints.cache_clear()


ONE_TABLE = [*COMMAND[:2], "--tables=1", *COMMAND[3:]]


def test_a_store_is_made_of_the_same_images_throughout(small, capsys, other_images):
    assert main(ONE_TABLE) == 0
    other_images()
    for dry_run in ([], ["--dry_run"]):
        capsys.readouterr()
        assert main([*COMMAND, *dry_run]) == 2
        said = capsys.readouterr().err
        assert "--store=runs/reproduce: was made of other images of 'digits'" in said
    assert not (small / "results" / "small" / "2.md").exists()
    assert main(ONE_TABLE) == 0  # There is nothing to make.
    (small / "runs/reproduce/images/digits.json").write_text("{")
    assert main(COMMAND) == 2
    assert "digits.json: damaged" in capsys.readouterr().err


def test_so_is_a_table_whatever_store_its_cells_come_from(small, capsys, other_images):
    assert main(ONE_TABLE) == 0
    other_images()
    capsys.readouterr()
    assert main([*COMMAND, "--store=another"]) == 2
    said = capsys.readouterr().err
    assert "What was measured earlier: was made of other images of 'digits'" in said
    assert not (small / "another").exists()
    elsewhere = ["--store=another", "--output=other"]
    part = [*COMMAND[:2], "--tables=2", "--classifiers=Net", *COMMAND[3:]]
    assert main([*part, *elsewhere]) == 0
    before = (small / "results" / "small" / "2.md").exists()
    capsys.readouterr()
    assert main([*COMMAND, *elsewhere[:1]]) == 2
    assert "on other images of 'digits' than other cells of its table" in capsys.readouterr().err
    assert (small / "results" / "small" / "2.md").exists() == before


class Late(TargetStore):
    """One with other images, which another with the right ones forestalls."""

    def fingerprints(self, name):
        return {**super().fingerprints(name), "test": "other"}

    def _written(self, name, prints):
        TargetStore(self.path).hold_to_images([name])
        return super()._written(name, prints)


def test_of_machines_that_begin_at_once_the_first_one_s_images_count(tmp_path):
    with pytest.raises(UserError, match="was made of other images of 'digits'"):
        Late(tmp_path).hold_to_images(["digits"])
    TargetStore(tmp_path).hold_to_images(["digits"])
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["digits.json"]


def test_a_table_with_nothing_measured_is_written_too(small):
    reproduction = Reproduction("small", "smoke", TargetStore(small / "store"), small / "results")
    assert reproduce_module.SCHEMA == 1
    reproduction.write()
    assert "None of 2 figures measured" in (small / "results" / "small" / "1.md").read_text()
    assert "To be made by `bin/reproduce" in (small / "results" / "small" / "1.md").read_text()


def test_a_table_tells_what_each_of_its_cells_was_made_with():
    records = [
        {"made_with": {"keras": "3.1"}, "note": ""},
        {"made_with": {"keras": "3.2", "numpy": "2.4"}, "note": "JPEG."},
        {"made_with": {"keras": "3.1"}},  # From before there were notes.
    ]
    assert versions_and_notes(records) == ("keras 3.1 and 3.2, numpy 2.4", ["JPEG."])


def test_the_index_says_what_is_to_be_said_of_the_images(small):
    save_index(paper.load_paper("small"), {}, ["JPEG."], small / "README.md")
    assert "with n and interval.\nJPEG.\n" in (small / "README.md").read_text()
