import csv
import io
import json
import re

import numpy as np
import pytest

import tfdefense
from tests.conftest import SHAPE, make_toy_model
from tfdefense.attacks import BIM, FGSM, DeepFool, default_epsilon
from tfdefense.attacks.core.spec import format_attack
from tfdefense.errors import UserError
from tfdefense.evaluation import Report, evaluate, save_gallery
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.evaluation.report.render import to_latex, to_markdown, to_text
from tfdefense.evaluation.threat_models import THREAT_MODELS
from tfdefense.utils.statistics import wilson_interval

ROW_FIELDS = [
    *("dataset", "classifier", "defense", "trained_with", "attack", "epsilon", "threat_model"),
    *("accuracy", "n", "ci_low", "ci_high", "seconds", "clean_accuracy", "success"),
    *("l1", "l2", "linf", "left_l1", "left_l2", "left_linf"),
]


def test_wilson_interval_is_the_formula():
    """Wilson 1927, by hand."""
    n, p, z = 50, 0.9, 1.959963984540054
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert wilson_interval(45, 50) == pytest.approx((center - half, center + half))
    assert wilson_interval(0, 10)[0] == 0
    assert wilson_interval(10, 10)[1] == 1


def test_every_attack_has_its_three_rows_and_every_grey_box_its_white_box(report):
    cells = [(row.defense, row.attack, row.threat_model) for row in report.rows]
    assert len(set(cells)) == len(cells) == 2 + 3 * 3 + 3
    for attack in ("fgsm", "fgsm_predicted", "bim", "worst_case"):
        assert report.row("none", attack, "white_box").n == 24
        assert report.row("apeganpp", attack, "grey_box").n == 24
        assert report.row("apeganpp", attack, "white_box").n == 9


def test_rows_are_what_the_predictions_say(report, toy_split):
    labels = report.labels
    for row in report.rows:
        if row.attack == "worst_case":
            continue
        predicted = report.cells[f"{row.defense}/{row.attack}/{row.threat_model}"].predicted
        assert row.accuracy == np.mean(predicted == labels[: row.n])
        assert row.ci_low <= row.accuracy <= row.ci_high
        clean = report.cells[f"{row.defense}/none/none"].predicted[: row.n]
        before = clean == labels[: row.n]
        assert row.clean_accuracy == np.mean(before)
        if before.any():
            assert row.success == np.mean(predicted[before] != labels[: row.n][before])


def test_norms_are_of_what_was_added_and_of_what_is_left(report, defense, toy_model, toy_split):
    """Recomputed from the attack itself, by NumPy."""
    adversarial = FGSM(epsilon=0.3)(toy_model, toy_split.images, toy_split.labels).numpy()
    purified = np.asarray(defense.purify(adversarial))
    row = report.row("apeganpp", "fgsm", "grey_box")
    for images, prefix in ((adversarial, ""), (purified, "left_")):
        change = np.reshape(images - toy_split.images, [24, -1])
        for order, name in ((1, "l1"), (2, "l2"), (np.inf, "linf")):
            expected = np.linalg.norm(change, order, axis=1)
            cell = report.cells["apeganpp/fgsm/grey_box"]
            kept = (cell.left if prefix else cell.perturbation)[:, ("l1", "l2", "linf").index(name)]
            np.testing.assert_allclose(kept, expected, rtol=1e-4)
            assert getattr(row, prefix + name) == pytest.approx(expected.mean(), rel=1e-4)
    assert report.row("none", "fgsm", "white_box").left_l1 is None


def test_worst_case_is_per_image(report):
    keys = [f"apeganpp/{attack}/grey_box" for attack in ("fgsm", "bim")]
    keys += ["apeganpp/fgsm_predicted/grey_box", "apeganpp/none/none"]
    right = [report.cells[key].predicted == report.labels for key in keys]
    expected = np.mean(np.all(right, axis=0))
    assert report.row("apeganpp", "worst_case", "grey_box").accuracy == expected


def test_restored_is_the_share_of_what_fooled(report):
    for each in report.restored:
        fooled = report.cells[f"none/{each.attack}/white_box"].predicted != report.labels
        fooled &= report.cells["none/none/none"].predicted == report.labels
        right = report.cells[f"apeganpp/{each.attack}/grey_box"].predicted == report.labels
        assert each.n == fooled.sum()
        assert each.restored == (right[fooled].mean() if each.n else 0)
        assert each.white_box == report.row("apeganpp", each.attack, "white_box").accuracy
    assert [each.attack for each in report.restored] == ["fgsm", "fgsm_predicted", "bim"]
    assert "Of the images that fooled the classifier" in to_markdown(report)
    assert Report.from_json(report.to_json()).restored == report.restored


def test_two_kinds_of_an_attack_have_rows_of_their_own(defense, toy_split):
    attacks = [BIM(epsilon=0.1), BIM(epsilon=0.1, steps=2)]
    report = evaluate(defense, toy_split, attacks, white_box_images=4)
    assert report.row("none", "bim", "white_box").n == 24
    assert report.row("none", "bim:steps=2", "white_box").n == 24
    with pytest.raises(UserError, match="bim given more than once"):
        evaluate(defense, toy_split, [BIM(epsilon=0.1), BIM(epsilon=0.2)])


def test_undefended_rows_are_the_classifiers_own(report, toy_model, toy_split):
    adversarial = FGSM(epsilon=0.3)(toy_model, toy_split.images, toy_split.labels)
    expected = np.mean(np.argmax(toy_model(adversarial), -1) == toy_split.labels)
    assert report.row("none", "fgsm", "white_box").accuracy == expected
    assert report.row("none", "none", "none").accuracy == 1.0


def test_json_has_the_schema_that_others_rely_on(report):
    content = json.loads(report.to_json())
    assert content.keys() >= {"schema", "summary", "rows", "sanity", "made_with"}
    assert content["schema"] == 1
    for row in content["rows"]:
        assert list(row) == ROW_FIELDS
        assert row["threat_model"] in ("none", *THREAT_MODELS)
        assert 0 <= row["ci_low"] <= row["ci_high"] <= 1
    again = Report.from_json(report.to_json())
    for name in ("rows", "sanity", "restored", "curve", "settings", "notes"):
        assert getattr(again, name) == getattr(report, name)


def test_text_and_markdown_never_show_grey_box_alone(report):
    for text in (to_text(report), to_markdown(report)):
        assert "grey box" in text
        assert "white box" in text
        for attack in ("fgsm 0.3", "bim 0.3", "worst_case 0.3"):
            line = next(line for line in text.splitlines() if attack in line)
            assert line.count("n=24") == 2
            assert line.count("n=9") == 1
    assert "BIM(epsilon=0.3, norm='linf', steps=10" in to_markdown(report)


def test_csv_has_every_row_with_every_field(report):
    lines = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert list(lines[0]) == ROW_FIELDS
    assert [float(line["accuracy"]) for line in lines] == [row.accuracy for row in report.rows]


def test_latex_has_the_table_and_nothing_that_latex_trips_over(report):
    text = to_latex(report)
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [line.count(" & ") for line in lines] == [3] * len(report.table())
    assert "worst\\_case" in text
    assert not re.search(r"(?<!\\)[%_#$]", text)


def test_gallery_is_a_picture(defense, toy_split, tmp_path):
    path = tmp_path / "gallery.png"
    save_gallery(defense, toy_split, [FGSM(epsilon=0.3)], path, ("top", "middle", "bottom"))
    from PIL import Image

    with Image.open(path) as picture:
        assert min(picture.size) > 300
        assert len(set(picture.convert("L").tobytes())) > 50
    assert sorted(tmp_path.iterdir()) == [path, path.with_suffix(".svg")]


def test_default_epsilon_follows_the_channels():
    assert default_epsilon((28, 28, 1)) == 0.3
    assert default_epsilon((32, 32, 3)) == pytest.approx(8 / 255)


def test_bad_calls_are_named(toy_split, digits):
    defense = tfdefense.defenses.APEGANPlusPlus(make_toy_model())
    with pytest.raises(UserError, match=r"test: images of \(28, 28, 1\) given"):
        evaluate(defense, digits.test)
    with pytest.raises(UserError, match="at least one needed"):
        evaluate(defense, toy_split, attacks=[])
    with pytest.raises(UserError, match="--white_box_images=0"):
        evaluate(defense, toy_split, white_box_images=0)


def test_each_norm_has_its_usual_radius_and_a_worst_case_over_several_has_none(
    bit_depth, toy_split
):
    judging = EvaluationConfig(attacks=("pgd:steps=2", "pgd:steps=2:norm=l2", "fgsm:epsilon=0.1"))
    assert [attack.epsilon for attack in judging.chosen(SHAPE)] == [0.3, 1.5, 0.1]
    assert [attack.epsilon for attack in judging.chosen((32, 32, 3))] == [8 / 255, 0.5, 0.1]
    given = EvaluationConfig(attacks=("pgd:norm=l2",), epsilon=0.7).chosen(SHAPE)
    assert given[0].epsilon == 0.7
    attacks = judging.chosen(SHAPE)[:2]
    report = evaluate(bit_depth, toy_split.take(6), attacks)
    worst = report.row("bit_depth", "worst_case", "white_box")
    assert worst.epsilon is None
    both = [
        report.cells[f"bit_depth/{format_attack(attack)}/white_box"].predicted == toy_split.labels[:6]
        for attack in attacks
    ]
    before = report.cells["bit_depth/none/none"].predicted == toy_split.labels[:6]
    assert worst.accuracy == np.mean(both[0] & both[1] & before)
    assert any("in l2 and linf, each within its own radius" in note for note in report.notes)


def test_attacks_without_a_radius_stay_out_of_the_worst_case(defense, toy_split):
    attacks = [FGSM(epsilon=0.1), DeepFool()]
    report = evaluate(defense, toy_split, attacks, white_box_images=9)
    assert report.row("none", "deepfool", "white_box").accuracy == 0
    assert report.row("none", "deepfool", "white_box").epsilon is None
    fgsm, worst = (report.row("none", name, "white_box") for name in ("fgsm", "worst_case"))
    assert worst.accuracy == fgsm.accuracy > 0
    assert worst.epsilon == 0.1
    assert [line[0] for line in report.table()[-2:]] == ["deepfool", "worst_case 0.1"]
    assert Report.from_json(report.to_json()).rows == report.rows
    alone = evaluate(defense, toy_split, attacks[1:], white_box_images=9)
    assert alone.row("none", "worst_case", "white_box").accuracy == 0
