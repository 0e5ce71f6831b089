"""The output `suspicion` of exported models: its values, its place in the card, exports without it."""

from pathlib import Path

import numpy as np
import pytest
from tensorflow.python.tools import saved_model_cli

import tfdefense
from tests.serving.batching import predict_joined
from tests.serving.session_model import SessionModel
from tests.serving.shown_signatures import documented_signatures, parse_signature
from tfdefense.attacks import FGSM
from tfdefense.data import Split
from tfdefense.defenses.core.suspicion import calibrate_suspicion, measure_suspicion_values
from tfdefense.errors import UserError
from tfdefense.evaluation import AttackPlan
from tfdefense.evaluation.checks.settings import CheckSettings
from tfdefense.evaluation.evaluate_defense import evaluate_plan
from tfdefense.evaluation.report.suspicion_section import suspicion_table
from tfdefense.serving import ModelFacts, Variant, export, open_model
from tfdefense.serving.exporter.operations import graph_requirements

pytestmark = pytest.mark.slow

_COUNT = 200
# A narrow network changes images a little otherwise, which moves them by a few ranks.
_ATOL = {"float32": 1, "float16": 4, "bfloat16": 0.15 * _COUNT}
_TFLITE_RANKS = {"float32": 1, "float16": 4, "int8": 1}  # With 16 bits, constants are rounded too.


@pytest.fixture(scope="module")
def validation(toy_images):
    """Clean images that are not the toy images, so that no rank is a tie."""
    rng = np.random.default_rng(1)
    images = np.tile(toy_images, (9, 1, 1, 1))[:_COUNT] * rng.uniform(0.5, 1, (_COUNT, 1, 1, 1))
    return Split(images, np.zeros(_COUNT, np.int32), 3, "toy")


@pytest.fixture(scope="module", params=["apeganpp", "magnet"])
def defense(request, toy_model):
    """A defence without and one with a detector, untrained."""
    return tfdefense.defenses.DEFENSES.get(request.param)(toy_model)


@pytest.fixture(scope="module", params=_ATOL)
def precision(request):
    return request.param


@pytest.fixture(scope="module")
def exported(defense, precision, validation, tmp_path_factory):
    directory = tmp_path_factory.mktemp(f"{defense.name}-{precision}")
    facts = ModelFacts(validation_images=validation)
    return export(defense, directory, Variant(precision=precision), facts=facts)


def test_a_saved_model_has_the_values_of_python(
    defense, precision, exported, validation, toy_images
):
    pipeline = defense.defend()
    scale = calibrate_suspicion(pipeline, validation)
    model = SessionModel(exported)
    for images in (toy_images, validation.images[:64]):
        expected = scale(measure_suspicion_values(pipeline, np.asarray(images))).numpy()
        for signature in ("serving_default", "purify"):
            found = model.predict(signature, {"images": images})["suspicion"]
            assert found.dtype == np.float32
            assert found.shape == (len(images),)
            np.testing.assert_allclose(
                found, expected, atol=_ATOL[precision] / _COUNT + 1e-6, err_msg=signature
            )
    assert "suspicion" not in model.predict("classify", {"images": toy_images})
    joined = predict_joined(model, "purify", [toy_images[:3], toy_images[3:4]], (1, 8))
    together = np.concatenate([each["suspicion"] for each in joined])
    np.testing.assert_allclose(
        together,
        model.predict("purify", {"images": toy_images})["suspicion"][:4],
        atol=1.5 / _COUNT,
    )
    model.session.close()


def test_saved_model_cli_shows_it(defense, exported, capsys):
    for name, interface in documented_signatures(defense, 3, has_suspicion=True).items():
        saved_model_cli._show_inputs_outputs(str(exported), "serve", name)
        assert parse_signature(capsys.readouterr().out) == interface, name


def test_it_needs_no_new_operation(exported):
    recorded = Path(__file__).with_name("operations.txt").read_text(encoding="utf-8").split()
    assert set(graph_requirements(exported).operations) <= set(recorded)


def test_the_card_describes_it(exported, defense):
    card = (exported / "model_card.md").read_text(encoding="utf-8")
    assert f"`suspicion` is the share of {_COUNT} validation images of toy that purifying" in card
    assert ("or the detector's score" in card) == defense.detects
    assert "`suspicion` float32 [N] in [0, 1] (see below)" in card
    assert "`purified`, `suspicion`" in card


@pytest.mark.parametrize("number_type", _TFLITE_RANKS)
def test_tflite_has_it(small_defense, validation, toy_images, tmp_path, number_type):
    facts = ModelFacts(validation_images=validation)
    path = export(small_defense, tmp_path, Variant("tflite", number_type), facts=facts)
    scale = calibrate_suspicion(small_defense.defend(), validation)
    expected = scale(measure_suspicion_values(small_defense.defend(), toy_images)).numpy()
    model = open_model(path)
    assert model.has_suspicion
    found = model.predict("serving_default", toy_images)["suspicion"]
    atol = _TFLITE_RANKS[number_type] / _COUNT + 1e-3
    np.testing.assert_allclose(found, expected, atol=atol)


def test_an_export_that_changes_nothing_has_none(toy_model, validation, tmp_path):
    defense = tfdefense.defenses.AdversarialTraining(toy_model)
    path = export(defense, tmp_path, facts=ModelFacts(validation_images=validation))
    model = open_model(path)
    assert not model.has_suspicion
    assert "suspicion" not in model.predict("serving_default", validation.images[:2])
    card = (path / "model_card.md").read_text(encoding="utf-8")
    assert "The model has no output `suspicion`: there were no validation images" in card


def test_the_card_copies_the_figures_of_the_report(small_defense, toy_split, validation, tmp_path):
    checks = CheckSettings(("all",), 4)
    plan = AttackPlan((FGSM(epsilon=0.2),), checks=checks, validation=validation)
    report = evaluate_plan(small_defense, toy_split, plan)
    facts = ModelFacts(report=report, validation_images=validation)
    card = (export(small_defense, tmp_path, facts=facts) / "model_card.md").read_text("utf-8")
    section = card.split("## Suspicion")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines()]
    assert [row for row in rows if row][2:] == suspicion_table(report)[1:]
    assert len(report.suspicion) == 4
    assert "The adaptive attacker also keeps suspicion low" in section
    assert "It was not measured" not in section


def test_a_card_without_the_figures_says_so(exported):
    card = (exported / "model_card.md").read_text(encoding="utf-8")
    assert "It was not measured against attackers." in card


def test_validation_images_of_another_shape_leave_nothing(small_defense, tmp_path):
    images = Split(np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, np.int32), 3)
    with pytest.raises(UserError, match=r"suspicion: images of \(8, 8, 1\) given"):
        export(small_defense, tmp_path, facts=ModelFacts(validation_images=images))
    assert list(tmp_path.iterdir()) == []
