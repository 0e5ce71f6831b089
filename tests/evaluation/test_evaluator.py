import numpy as np
import pytest

from tests.reports import evaluate_without_checks
from tfdefense.attacks import BIM, FGSM, PGD, DeepFool
from tfdefense.attacks.core.spec import format_attack
from tfdefense.evaluation import Report


@pytest.mark.slow
def test_every_attack_has_three_rows_and_every_grey_box_its_white_box(report):
    keys = [(row.defense, row.attack, row.threat_model) for row in report.rows]
    assert len(set(keys)) == len(keys) == 2 + 3 * 3 + 3
    for attack in ("fgsm", "fgsm_predicted", "bim", "worst_case"):
        assert report.row("none", attack, "white_box").n == 24
        assert report.row("apeganpp", attack, "grey_box").n == 24
        assert report.row("apeganpp", attack, "white_box").n == 9


def test_rows_follow_from_the_predictions(report, toy_split):
    labels = report.labels
    for row in report.rows:
        if row.attack == "worst_case":
            continue
        key = f"{row.defense}/{row.attack}/{row.threat_model}"
        predicted = report.per_image[key].predicted
        assert row.accuracy == np.mean(predicted == labels[: row.n])
        assert row.ci_low <= row.accuracy <= row.ci_high
        clean = report.per_image[f"{row.defense}/none/none"].predicted[: row.n]
        before = clean == labels[: row.n]
        assert row.clean_accuracy == np.mean(before)
        if before.any():
            assert row.success == np.mean(predicted[before] != labels[: row.n][before])


def test_norms_are_those_of_the_attacked_and_of_the_purified_images(
    report, defense, toy_model, toy_split
):
    adversarial = FGSM(epsilon=0.3)(toy_model, toy_split.images, toy_split.labels).numpy()
    purified = np.asarray(defense.purify(adversarial))
    row = report.row("apeganpp", "fgsm", "grey_box")
    results = report.per_image["apeganpp/fgsm/grey_box"]
    for images, prefix in ((adversarial, ""), (purified, "left_")):
        change = np.reshape(images - toy_split.images, [24, -1])
        for column, (order, name) in enumerate(((1, "l1"), (2, "l2"), (np.inf, "linf"))):
            expected = np.linalg.norm(change, order, axis=1)
            stored = (results.left if prefix else results.perturbation)[:, column]
            np.testing.assert_allclose(stored, expected, rtol=1e-4)
            assert getattr(row, prefix + name) == pytest.approx(expected.mean(), rel=1e-4)
    assert report.row("none", "fgsm", "white_box").left_l1 is None


def test_worst_case_is_per_image(report):
    keys = [f"apeganpp/{attack}/grey_box" for attack in ("fgsm", "bim")]
    keys += ["apeganpp/fgsm_predicted/grey_box", "apeganpp/none/none"]
    correct = [report.per_image[key].predicted == report.labels for key in keys]
    expected = np.mean(np.all(correct, axis=0))
    assert report.row("apeganpp", "worst_case", "grey_box").accuracy == expected


@pytest.mark.slow
def test_two_variants_of_an_attack_have_separate_rows(defense, toy_split):
    attacks = [BIM(epsilon=0.1), BIM(epsilon=0.1, steps=2)]
    report = evaluate_without_checks(defense, toy_split, attacks, white_box_images=4)
    assert report.row("none", "bim", "white_box").n == 24
    assert report.row("none", "bim:steps=2", "white_box").n == 24


def test_undefended_rows_are_those_of_the_classifier(report, toy_model, toy_split):
    adversarial = FGSM(epsilon=0.3)(toy_model, toy_split.images, toy_split.labels)
    expected = np.mean(np.argmax(toy_model(adversarial), -1) == toy_split.labels)
    assert report.row("none", "fgsm", "white_box").accuracy == expected
    assert report.row("none", "none", "none").accuracy == 1.0


@pytest.mark.slow
def test_worst_case_over_several_norms_has_no_radius(bit_depth, toy_split):
    attacks = [PGD(epsilon=0.3, steps=2), PGD(epsilon=1.5, steps=2, norm="l2")]
    report = evaluate_without_checks(bit_depth, toy_split.take(6), attacks)
    worst = report.row("bit_depth", "worst_case", "white_box")
    assert worst.epsilon is None
    correct = [
        report.per_image[f"bit_depth/{format_attack(attack)}/white_box"].predicted
        == toy_split.labels[:6]
        for attack in attacks
    ]
    before = report.per_image["bit_depth/none/none"].predicted == toy_split.labels[:6]
    assert worst.accuracy == np.mean(correct[0] & correct[1] & before)
    assert any("the norms l2 and linf, each with its own radius" in note for note in report.notes)


@pytest.mark.slow
def test_attacks_without_a_radius_are_left_out_of_the_worst_case(defense, toy_split):
    attacks = [FGSM(epsilon=0.1), DeepFool()]
    report = evaluate_without_checks(defense, toy_split, attacks, white_box_images=9)
    assert report.row("none", "deepfool", "white_box").accuracy == 0
    assert report.row("none", "deepfool", "white_box").epsilon is None
    fgsm, worst = (report.row("none", name, "white_box") for name in ("fgsm", "worst_case"))
    assert worst.accuracy == fgsm.accuracy > 0
    assert worst.epsilon == 0.1
    assert [line[0] for line in report.table()[-2:]] == ["deepfool", "worst_case 0.1"]
    assert Report.from_json(report.to_json()).rows == report.rows
    assert "worst_case leaves out attacks without a radius: deepfool." in report.notes
    assert "stay correct under every attack with a radius is" in report.summary
    alone = evaluate_without_checks(defense, toy_split, attacks[1:], white_box_images=9)
    assert alone.notes == ()
    assert "stay correct under every attack is" in alone.summary
    assert alone.row("none", "worst_case", "white_box").accuracy == 0
