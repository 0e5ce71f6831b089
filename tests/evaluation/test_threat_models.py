import numpy as np
import pytest

from tests.reports import evaluate_without_checks
from tfdefense.attacks import BIM, FGSM, PGD, DeepFool, HopSkipJump, Square
from tfdefense.attacks.core.spec import format_attack
from tfdefense.errors import UserError
from tfdefense.evaluation import ThreatModels, evaluate
from tfdefense.evaluation.report.render import to_markdown, to_text


def is_correct(model, images, labels):
    return np.argmax(model(images), -1) == labels


@pytest.mark.slow
def test_transfer_images_are_made_on_the_source(
    full_report, toy_model, toy_split, other_model, bit_depth
):
    images, labels = toy_split.images, toy_split.labels
    attacked = FGSM(epsilon=0.2)(other_model, images, labels)
    fooled = ~is_correct(toy_model, attacked, labels)
    for defense, model, counted in (
        ("none", toy_model, np.ones(24, bool)),
        ("bit_depth", bit_depth.defend(), fooled),
    ):
        row = full_report.row(defense, "fgsm", "transfer")
        assert row.n == counted.sum() > 0
        assert row.accuracy == np.mean(is_correct(model, attacked, labels)[counted])


@pytest.mark.slow
def test_fooled_only_counts_images_that_fooled_the_classifier(
    full_report, toy_model, toy_split, bit_depth
):
    images, labels = toy_split.images, toy_split.labels
    attacked = FGSM(epsilon=0.2)(toy_model, images, labels)
    fooled = ~is_correct(toy_model, attacked, labels)
    row = full_report.row("bit_depth", "fgsm", "grey_box")
    assert row.n == fooled.sum() > 0
    assert row.accuracy == np.mean(is_correct(bit_depth.defend(), attacked, labels)[fooled])
    undefended = full_report.row("none", "fgsm", "white_box")
    assert undefended.n == 24, "the undefended row counts all images"
    assert any(
        "count only images that the undefended classifier classifies correctly" in note
        for note in full_report.notes
    )


@pytest.mark.slow
def test_fooled_only_counts_the_same_images_in_the_worst_case(bit_depth, toy_split, full_report):
    weak, weaker = BIM(epsilon=0.12), PGD(epsilon=0.1)
    threat_models = ThreatModels(fooled_only=True)
    report = evaluate_without_checks(bit_depth, toy_split, [weak, weaker], 3, threat_models)
    rows = [report.row("bit_depth", format_attack(attack), "grey_box") for attack in (weak, weaker)]
    worst = report.row("bit_depth", "worst_case", "grey_box")
    assert 0 < rows[1].n <= rows[0].n <= worst.n < 24
    assert worst.accuracy <= rows[0].accuracy
    assert report.row("none", "worst_case", "white_box").n == 24
    # Of several attacks, the images that at least one fooled the classifier with.
    results = [
        full_report.per_image[f"bit_depth/{name}/grey_box"] for name in ("fgsm", "fgsm_predicted")
    ]
    union = results[0].counted | results[1].counted
    assert full_report.row("bit_depth", "worst_case", "grey_box").n == union.sum()


def test_fooled_only_leaves_out_an_attack_that_fools_nothing(bit_depth, toy_split):
    attacks = [FGSM(epsilon=0.0), BIM(epsilon=0.12)]
    threat_models = ThreatModels(fooled_only=True)
    report = evaluate_without_checks(bit_depth, toy_split, attacks, 3, threat_models)
    assert report.row("bit_depth", "fgsm", "grey_box") is None
    fooled = report.row("bit_depth", "bim", "grey_box")
    assert report.row("bit_depth", "worst_case", "grey_box").accuracy == fooled.accuracy
    counts = {each.attack: each.n for each in report.recoveries}
    assert (counts["fgsm"], counts["bim"]) == (0, fooled.n)
    note = "fgsm (grey box) fools toy on none of 24 images, so bit_depth has no row for it."
    assert f"--fooled_only: {note}" in report.notes
    assert "- n=0" in to_markdown(report)


def test_fooled_only_can_leave_out_the_worst_case(bit_depth, toy_split):
    """FGSM, the only attack with a radius, fools nothing; DeepFool has a row and no radius."""
    attacks = [FGSM(epsilon=0.0), DeepFool(steps=5)]
    threat_models = ThreatModels(fooled_only=True)
    report = evaluate_without_checks(bit_depth, toy_split, attacks, 3, threat_models)
    assert report.row("bit_depth", "deepfool:steps=5", "grey_box").n > 0
    assert report.row("bit_depth", "worst_case", "grey_box") is None
    assert "knows only the classifier" not in report.summary
    assert "knows classifier and defence" in report.summary
    assert "deepfool" in to_markdown(report)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Square, HopSkipJump])
def test_black_box_attackers_attack_the_pipeline(kind, full_report, toy_split, bit_depth):
    few = toy_split.take(12)
    attack = kind(epsilon=0.2, queries=1000)
    attacked = attack(bit_depth.defend(), few.images, few.labels)
    row = full_report.row("bit_depth", f"{attack.name}:queries=1000", "black_box")
    assert row.n == 12
    assert row.accuracy == np.mean(is_correct(bit_depth.defend(), attacked, few.labels))


@pytest.mark.slow
def test_every_threat_model_has_its_column_and_the_white_box_is_always_there(full_report):
    header = full_report.table()[0]
    assert header == [
        *("attack", "undefended", "undefended, transfer", "undefended, black box"),
        *(f"bit_depth, {name}" for name in ("grey box", "white box", "transfer", "black box")),
    ]
    assert "white box" in to_text(full_report)
    for words in (
        *("knows only the classifier", "knows classifier and defence"),
        *("knows only another classifier", "only queries logits"),
    ):
        assert words in full_report.summary
    assert "the attack knows only the classifier other" in to_markdown(full_report)


@pytest.mark.slow
def test_attack_with_a_norm_and_no_radius_is_evaluated(bit_depth, toy_split):
    report = evaluate(bit_depth, toy_split, [DeepFool(norm="linf")], white_box_images=4)
    assert report.row("bit_depth", "deepfool:norm=linf", "white_box").epsilon is None
    assert report.check_effort["epsilon"] == 0.3
    assert "square" not in report.check_effort["probes"]
    assert not [check for check in report.failed_checks if "of this report" in check.verdict]


def test_bad_threat_models_are_named(bit_depth, toy_split):
    with pytest.raises(
        UserError, match=r"unknown --threat_models 'gray_box'. Did you mean 'grey_box'"
    ):
        ThreatModels(("gray_box", "white_box"))
    with pytest.raises(UserError, match="white_box is needed too"):
        ThreatModels(("grey_box",))
    with pytest.raises(UserError, match="needs --source"):
        ThreatModels(("white_box", "transfer"))
