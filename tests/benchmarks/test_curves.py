"""benchmarks/curves.py: runs of classifiers over passes, and runs that it refuses."""

import importlib
import json
import sys

import numpy as np
import pytest

from tests.docs.markdown import ROOT
from tfdefense.errors import UserError
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.training.summaries import SummaryWriter

SUMMARY = {"classifier": "lenet", "dataset": "toy", "parameters": 9, "accuracy": 0.75, "n": 8}
SUMMARY |= {"ci_low": 0.4, "ci_high": 0.9, "seconds": 1.0, "note": "", "schema": 1}


@pytest.fixture
def curves(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("curves")


def write_run(path, kind="classifier", epochs=2, validated=(30, 60)):
    """Write a run of 30 steps a pass, with a validation at each of the given steps."""
    settings = {"classifier": "lenet", "defense": "apegan", "epochs": epochs}
    path.mkdir()
    run = RunDirectory(path)
    run.config_path.write_text(StoredConfig(kind, settings).to_json())
    writer = SummaryWriter(path)
    for number, step in enumerate(validated):
        writer.write_scalars("train", {"accuracy": 0.5, "loss": 0.9 - 0.1 * number}, step)
        writer.write_scalars("validation", {"accuracy": 0.6 + 0.1 * number, "loss": 0.8}, step)
    del writer


@pytest.fixture
def call(curves, monkeypatch, capsys):
    """Run the program with flags, and return the object in its last line."""

    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["curves.py", *flags])
        curves.main()
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def test_classifiers_are_drawn_over_passes(call, tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", validated=(30,))
    (tmp_path / "a" / "summary.json").write_text(json.dumps(SUMMARY))
    found = call("a", "b", "--output=c.png")
    first, second = found["classifiers"]["lenet"]
    assert first == {
        "run": "a",
        "passes": 2.0,
        "train_accuracy": 0.5,
        "validation_accuracy": 0.7,
        "test": {"accuracy": 0.75, "ci_low": 0.4, "ci_high": 0.9, "n": 8},
    }
    assert (second["passes"], "test" in second) == (1.0, False)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("epochs", "validated", "passes"),
    [
        (3, [30, 60, 90], [1, 2, 3]),
        # 22 passes of 6 steps: a validation after each 132 // 20 steps.
        (22, range(6, 133, 6), range(1, 23)),
        # Stopped early: 40 passes of 30 steps have 20 validations, the first after 60 steps.
        (40, [60, 120], [2, 4]),
        (3, [30, 60], [1, 2]),
    ],
)
def test_passes_are_those_of_the_loop(curves, epochs, validated, passes):
    steps = np.array(validated)
    to_passes = curves.count_passes({"validation/accuracy": (steps, steps * 0.0)}, epochs)
    np.testing.assert_allclose(to_passes(steps), passes)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["classifier", "defense"], r"given: classifier \(r0\), defense \(r1\)"),
        (["certificate"], r"given: certificate \(r0\)"),
    ],
)
def test_runs_of_other_kinds_are_refused(call, tmp_path, kinds, message):
    for number, kind in enumerate(kinds):
        write_run(tmp_path / f"r{number}", kind)
    with pytest.raises(UserError, match=message):
        call(*(f"r{number}" for number in range(len(kinds))))


def test_a_run_without_curves_is_refused(call, tmp_path):
    write_run(tmp_path / "new", validated=())
    with pytest.raises(UserError, match="new: no curve train/accuracy in its event files"):
        call("new")
