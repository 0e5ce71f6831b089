"""A killed evaluation: which report a run directory then has."""

import dataclasses

import numpy as np
import pytest

from tests.conftest import make_toy_model
from tfdefense.data import Dataset
from tfdefense.evaluation import run_evaluation
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.evaluation.run_evaluation import evaluate_run, is_about, load_finished_report
from tfdefense.training.run_directory import RunDirectory

CONFIG = EvaluationConfig(attacks=("fgsm",), images=4, white_box_images=4, checks=("none",))


class KilledError(Exception):
    pass


@pytest.fixture
def evaluate_and_kill(report, bit_depth, toy_split, tmp_path, monkeypatch):
    """Return a run with an old report after an evaluation that was killed in a function."""

    def evaluate_and_kill(function):
        def kill(*_):
            raise KilledError

        monkeypatch.setattr(run_evaluation, function, kill)
        run, data = RunDirectory(tmp_path), Dataset("toy", toy_split, toy_split, toy_split)
        (tmp_path / "report.json").write_text(report.to_json())
        with pytest.raises(KilledError):
            evaluate_run(run, bit_depth, data, CONFIG, tmp_path / "runs")
        return run

    return evaluate_and_kill


@pytest.mark.parametrize(
    ("killed_in", "has_report"),
    [("evaluate_plan", True), ("save_gallery", False), ("save_report", False)],
)
def test_an_old_report_does_not_stay_next_to_new_files(evaluate_and_kill, killed_in, has_report):
    run = evaluate_and_kill(killed_in)
    assert (load_finished_report(run, None) is not None) == has_report


def test_a_report_is_about_its_images_and_classifier(bit_depth, toy_split, tmp_path):
    data = Dataset("toy", toy_split, toy_split, toy_split)
    report = evaluate_run(RunDirectory(tmp_path), bit_depth, data, CONFIG, tmp_path / "runs")
    assert is_about(report, bit_depth, data)
    assert is_about(dataclasses.replace(report, fingerprints={}), bit_depth, data)
    others = toy_split.select(np.arange(len(toy_split))[::-1])
    assert not is_about(report, bit_depth, dataclasses.replace(data, test=others))
    retrained = make_toy_model()
    retrained.set_weights([1.1 * weights for weights in retrained.get_weights()])
    assert not is_about(report, type(bit_depth)(retrained), data)


def test_a_report_with_transfer_rows_is_about_their_source(bit_depth, toy_split, tmp_path):
    path, data = tmp_path / "source.keras", Dataset("toy", toy_split, toy_split, toy_split)
    source = make_toy_model()
    source.save(path)
    config = dataclasses.replace(
        CONFIG, threat_models=("white_box", "transfer"), source=str(path), images=4
    )
    report = evaluate_run(RunDirectory(tmp_path), bit_depth, data, config, tmp_path / "runs")
    assert is_about(report, bit_depth, data)
    source.set_weights([1.1 * weights for weights in source.get_weights()])
    source.save(path)
    assert not is_about(report, bit_depth, data)
    path.unlink()
    assert not is_about(report, bit_depth, data)
