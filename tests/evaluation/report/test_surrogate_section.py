import dataclasses

from tfdefense.evaluation.report.render import to_markdown
from tfdefense.evaluation.report.surrogate_section import surrogate_table, surrogate_warnings
from tfdefense.evaluation.surrogate_findings import ANOTHER_DRAW, SurrogateFinding

FINDINGS = (
    SurrogateFinding("pgd", "white_box", 1000, 0.94, 0.945, {"leaky": 50, "true": 0, "smooth": 5}),
    SurrogateFinding("cw", "white_box", 1000, 0.0, None, {"leaky": 0, "true": 0, "smooth": 0}),
    SurrogateFinding("worst_case", "white_box", 1000, 0.93, 0.94, {"leaky": 60, "smooth": 10}),
)


def test_the_table_has_the_accuracy_with_one_and_with_all(report):
    found = dataclasses.replace(report, surrogates=FINDINGS)
    assert surrogate_table(found) == [
        ["attack", "threat model", "accuracy, leaky alone", "all", "fooled by"],
        ["pgd", "white box", "94.5%", "94.0% n=1,000", "leaky 50, smooth 5"],
        ["cw", "white box", "-", "0.0% n=1,000", "-"],
        ["worst_case", "white box", "94.0%", "93.0% n=1,000", "leaky 60, smooth 10"],
    ]


def test_another_draw_is_no_gradient(report):
    finding = SurrogateFinding(
        "worst_case", "white_box_eot", 1000, 0.9, None, {"leaky": 90, ANOTHER_DRAW: 10}
    )
    found = dataclasses.replace(report, surrogates=(finding,))
    assert surrogate_table(found)[1][2:] == ["-", "90.0% n=1,000", "leaky 90, another draw 10"]
    assert surrogate_warnings(found) == ()
    page = to_markdown(found)
    assert "in the order leaky. An attack" in page
    assert "Another draw: the images withstand the draws of the attacker" in page
    assert "nother draw" not in to_markdown(dataclasses.replace(report, surrogates=FINDINGS))


def test_the_page_warns_if_one_gradient_would_have_left_more(report):
    found = dataclasses.replace(report, surrogates=FINDINGS)
    (warning,) = surrogate_warnings(found)
    assert warning.startswith("With the gradient leaky alone, 94.0% of the 1,000 images")
    page = to_markdown(found)
    assert "## Surrogate gradients" in page
    assert "in the order leaky, true, smooth" in page
    assert warning in page
    assert "Surrogate gradients" not in to_markdown(report)
    equal = dataclasses.replace(FINDINGS[-1], first_accuracy=0.93)
    assert surrogate_warnings(dataclasses.replace(report, surrogates=(equal,))) == ()
