"""A killed evaluation: which report a run directory then has."""

import dataclasses

import numpy as np
import pytest

from tests.conftest import make_toy_model
from tfdefense.data import Dataset
from tfdefense.errors import UserError
from tfdefense.evaluation import run_evaluation
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.evaluation.run_evaluation import (
    evaluate_run,
    is_about,
    load_finished_report,
    require_evaluation_time,
)
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


def test_every_test_image_of_a_report_counts(report, defense, toy_split):
    data = Dataset("toy", toy_split, toy_split, toy_split)
    stored = dataclasses.replace(report, settings=EvaluationConfig().settings())
    assert is_about(stored, defense, data)
    labels = toy_split.labels.copy()
    labels[20] = (labels[20] + 1) % 3
    relabelled = dataclasses.replace(data, test=dataclasses.replace(toy_split, labels=labels))
    assert not is_about(stored, defense, relabelled)
    rows = np.append(np.arange(24), 0)
    appended = dataclasses.replace(data, test=toy_split.select(rows))
    assert not is_about(stored, defense, appended)
    first = dataclasses.replace(report, settings=EvaluationConfig(images=24).settings())
    assert is_about(first, defense, appended)
    damaged = dataclasses.replace(report, settings={"images": "many"})
    assert not is_about(damaged, defense, data)
    earlier = {name: each for name, each in stored.fingerprints.items() if name != "images_24"}
    assert is_about(dataclasses.replace(stored, fingerprints=earlier), defense, appended)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eot_draws": 3}, "--eot_draws=3: bit_depth draws no random numbers"),
        ({"check_images": 25}, "--check_images=25: "),
    ],
)
def test_unsuitable_settings_are_refused_before_the_source_is_trained(
    settings, message, bit_depth, toy_split, monkeypatch
):
    def train_source(*_):
        pytest.fail("the source is opened first")

    monkeypatch.setattr(EvaluationConfig, "attack_plan", train_source)
    data = Dataset("toy", toy_split, toy_split, toy_split)
    with pytest.raises(UserError, match=message):
        require_evaluation_time(bit_depth, data, EvaluationConfig(**settings), max_hours=1.0)


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
