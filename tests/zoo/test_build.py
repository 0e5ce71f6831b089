import keras
import numpy as np
import pytest

from tests.conftest import make_toy_model
from tests.reports import evaluate_without_checks
from tfdefense.attacks import FGSM
from tfdefense.data import Dataset
from tfdefense.defenses import APEGAN, BitDepth
from tfdefense.errors import UserError
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.from_flags import experiment_from_flags
from tfdefense.experiments.load import load_defense
from tfdefense.experiments.train import train
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.zoo import build
from tfdefense.zoo.build import add_run, main
from tfdefense.zoo.pretrained import load_pretrained, mark_unreliable


@pytest.mark.slow
def test_a_run_with_a_report_can_be_added_and_one_without_cannot(
    tmp_path, digits, capsys, monkeypatch
):
    layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
    toy = keras.Sequential([keras.Input((28, 28, 1)), *layers], name="toy")
    toy.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    toy.fit(digits.train.images, digits.train.labels, epochs=5, verbose=0)
    toy.save(tmp_path / "toy.keras")
    flags = {
        "defense": "apegan",
        "dataset": "digits",
        "classifier": str(tmp_path / "toy.keras"),
        "epochs": 1,
        "train_images": 128,
    }
    evaluation = EvaluationConfig(
        images=20, white_box_images=5, attacks=("fgsm",), checks=("none",)
    )
    config = experiment_from_flags(flags, evaluation=evaluation)
    run = RunDirectory(tmp_path / "run")
    train(config, ExperimentContext(runs_dir=tmp_path), run)
    models = tmp_path / "models"
    assert add_run(run, models) == "apegan/digits/toy"
    pretrained = load_pretrained("apegan/digits/toy", models)
    images = digits.test.take(30).images
    expected = load_defense(run).purify(images)
    np.testing.assert_allclose(pretrained.purify(images), expected, atol=2e-3)
    card = " ".join(pretrained.card.split())  # Lines are wrapped.
    assert "| fgsm 0.3 |" in card
    assert "apegan, white box" in card
    assert "1 passes over the first 128 training images" in card
    assert "of 360 times" in card
    # A failure leaves the purifier, its card and its mark as they are.
    mark_unreliable("apegan/digits/toy", "a reason", models)
    before = {path: path.read_bytes() for path in models.rglob("*") if path.is_file()}
    monkeypatch.setattr(build, "ModelRunner", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add_run(run, models)
    assert before == {path: path.read_bytes() for path in models.rglob("*") if path.is_file()}
    (run.path / "report.json").unlink()
    assert main([str(run.path)]) == 2
    assert "has no report. Write one with: bin/evaluate" in capsys.readouterr().err


@pytest.fixture
def use_report(toy_model, toy_split, tmp_path, monkeypatch):
    """A function that makes a run of an untrained APE-GAN and gives it the report of a defence."""
    run, defense = RunDirectory(tmp_path / "run"), APEGAN(toy_model)
    run.create_or_reuse(StoredConfig("defense", {"dataset": "toy"}, {}))
    data = Dataset("toy", toy_split, toy_split, toy_split)
    monkeypatch.setattr(build, "load_defense", lambda _: defense)
    monkeypatch.setattr(build, "load_dataset", lambda _: data)

    def use_report(reported):
        report = evaluate_without_checks(reported, toy_split, [FGSM(epsilon=0.2)], 4)
        (run.path / "report.json").write_text(report.to_json())
        return run

    return use_report


def test_a_report_of_another_classifier_is_refused(use_report, tmp_path):
    run = use_report(APEGAN(make_toy_model()))
    with pytest.raises(UserError, match=r"the classifier changed since its report\. Make it again"):
        add_run(run, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_report_of_another_defence_is_refused(use_report, toy_model, tmp_path):
    run = use_report(BitDepth(toy_model))
    with pytest.raises(UserError, match=r"report\.json: is of another run \(of bit_depth"):
        add_run(run, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_call_without_runs_is_an_error(capsys):
    assert main([]) == 2
    assert "RUN: none given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unreliable"], "--unreliable: a name and a reason in quotes are needed"),
        (
            ["--unreliable", "apeganpp/mnist/lenett", "x"],
            "unknown purifier 'apeganpp/mnist/lenett'",
        ),
    ],
)
def test_a_purifier_cannot_be_marked_without_its_name_and_a_reason(capsys, arguments, message):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
