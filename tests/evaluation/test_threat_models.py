import numpy as np
import pytest

import tfdefense
from tfdefense.attacks import BIM, FGSM, PGD, DeepFool, FGSMPredicted, Square
from tfdefense.attacks.core.spec import format_attack
from tfdefense.errors import UserError
from tfdefense.evaluation import ThreatModels, evaluate
from tfdefense.evaluation.evaluator import add_label_free_fgsm
from tfdefense.evaluation.report.render import to_markdown, to_text


def right(model, images, labels):
    return np.argmax(model(images), -1) == labels


def test_transferred_images_are_made_on_the_source(
    full_report, toy_model, toy_split, other_model, bit_depth
):
    images, labels = toy_split.images, toy_split.labels
    crafted = FGSM(epsilon=0.2)(other_model, images, labels)
    fooled = ~right(toy_model, crafted, labels)
    whole = np.ones(24, bool)
    for defense, model, counted in (
        ("none", toy_model, whole),
        ("bit_depth", bit_depth.defend(), fooled),
    ):
        row = full_report.row(defense, "fgsm", "transfer")
        assert row.n == counted.sum() > 0
        assert row.accuracy == np.mean(right(model, crafted, labels)[counted])


def test_fooled_only_counts_what_fooled_the_classifier(
    full_report, toy_model, toy_split, bit_depth
):
    images, labels = toy_split.images, toy_split.labels
    crafted = FGSM(epsilon=0.2)(toy_model, images, labels)
    fooled = ~right(toy_model, crafted, labels)
    row = full_report.row("bit_depth", "fgsm", "grey_box")
    assert row.n == fooled.sum() > 0
    assert row.accuracy == np.mean(right(bit_depth.defend(), crafted, labels)[fooled])
    assert full_report.row("none", "fgsm", "white_box").n == 24, "the undefended row counts all"
    assert any(
        "count only the images that the classifier was right about" in note
        for note in full_report.notes
    )


def test_fooled_only_counts_the_same_in_the_worst_case(bit_depth, toy_split, full_report):
    weak, weaker = BIM(epsilon=0.12), PGD(epsilon=0.1)
    report = evaluate(bit_depth, toy_split, [weak, weaker], 3, ThreatModels(fooled_only=True))
    rows = [report.row("bit_depth", format_attack(attack), "grey_box") for attack in (weak, weaker)]
    worst = report.row("bit_depth", "worst_case", "grey_box")
    assert 0 < rows[1].n <= rows[0].n <= worst.n < 24
    assert worst.accuracy <= rows[0].accuracy
    assert report.row("none", "worst_case", "white_box").n == 24
    # Of several attacks, the images that any of them fooled the classifier with.
    cells = [full_report.cells[f"bit_depth/{name}/grey_box"] for name in ("fgsm", "fgsm_predicted")]
    union = cells[0].counted | cells[1].counted
    assert full_report.row("bit_depth", "worst_case", "grey_box").n == union.sum()


def test_black_box_is_square_on_the_whole(full_report, toy_split, bit_depth):
    few = toy_split.take(12)
    attack = Square(epsilon=0.2, queries=1000)
    crafted = attack(bit_depth.defend(), few.images, few.labels)
    row = full_report.row("bit_depth", "square:queries=1000", "black_box")
    assert row.n == 12
    assert row.accuracy == np.mean(right(bit_depth.defend(), crafted, few.labels))


def test_every_threat_model_has_its_column_and_the_white_box_is_always_there(full_report):
    header = full_report.table()[0]
    assert header == [
        *("attack", "undefended", "undefended, transfer", "undefended, black box"),
        *(f"bit_depth, {box}" for box in ("grey box", "white box", "transfer", "black box")),
    ]
    assert "white box" in to_text(full_report)
    for words in ("know only the classifier", "know the defence too", "only ask for logits"):
        assert words in full_report.summary
    assert "the attack saw other, and nothing else" in to_markdown(full_report)


def test_what_was_crafted_is_kept_and_found_again(
    bit_depth, toy_model, toy_split, tmp_path, monkeypatch
):
    """A second evaluation, of another defence too, attacks the classifier no more."""
    attacks = [BIM(epsilon=0.2)]
    first = evaluate(bit_depth, toy_split, attacks, 6, runs_dir=tmp_path)
    assert len(list((tmp_path / "attacks").iterdir())) == 2
    attacked = []
    run = BIM.run
    monkeypatch.setattr(
        BIM,
        "run",
        lambda self, model, *rest: attacked.append(model.name) or run(self, model, *rest),
    )
    again = evaluate(bit_depth, toy_split, attacks, 6, runs_dir=tmp_path)
    assert not attacked
    other = evaluate(
        tfdefense.defenses.SpatialSmoothing(toy_model), toy_split, attacks, 6, runs_dir=tmp_path
    )
    assert attacked == ["spatial_smoothing+toy"]
    plain = evaluate(bit_depth, toy_split, attacks, 6)
    for report in (first, again, plain):
        for key, cell in first.cells.items():
            np.testing.assert_array_equal(report.cells[key].predicted, cell.predicted)
    row = ("none", "bim", "white_box")
    assert other.row(*row).accuracy == first.row(*row).accuracy
    assert again.row(*row).seconds >= 0.5 * first.row(*row).seconds, (
        "what crafting took is still told"
    )


def test_every_fgsm_has_a_neighbour_that_does_not_know_the_label():
    plain = [FGSM(epsilon=0.1), Square(epsilon=0.1)]
    assert add_label_free_fgsm(plain) == [plain[0], FGSMPredicted(epsilon=0.1), plain[1]]
    given = [FGSMPredicted(epsilon=0.1), FGSM(epsilon=0.1)]
    assert add_label_free_fgsm(given) == given


def test_an_attack_with_a_norm_and_no_radius_is_judged(bit_depth, toy_split):
    report = evaluate(bit_depth, toy_split, [DeepFool(norm="linf")], white_box_images=4)
    assert report.row("bit_depth", "deepfool:norm=linf", "white_box").epsilon is None
    assert report.curve["epsilon"][3] == 0.3
    with pytest.raises(UserError, match="fgsm given more than once"):
        evaluate(bit_depth, toy_split, [FGSM(epsilon=0.1), FGSM(epsilon=0.1)])


def test_what_cannot_be_asked_is_named(bit_depth, toy_split):
    with pytest.raises(
        UserError, match=r"unknown --threat_models 'gray_box'. Did you mean 'grey_box'"
    ):
        ThreatModels(("gray_box", "white_box"))
    with pytest.raises(UserError, match="white_box is needed too"):
        ThreatModels(("grey_box",))
    with pytest.raises(UserError, match="needs a --source"):
        ThreatModels(("white_box", "transfer"))
    with pytest.raises(UserError, match="--fooled_only: fgsm fooled toy with none of 24 images"):
        evaluate(bit_depth, toy_split, [FGSM(epsilon=0.0)], threats=ThreatModels(fooled_only=True))
