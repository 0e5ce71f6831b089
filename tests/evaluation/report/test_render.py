import re

from tests.evaluation.report.conftest import with_names
from tfdefense.evaluation.report.render import (
    accuracy_table_lines,
    failed_check_lines,
    to_html,
    to_latex,
    to_markdown,
    to_text,
)


def test_text_and_markdown_never_show_grey_box_alone(report):
    for text in (to_text(report), to_markdown(report)):
        assert "grey box" in text
        assert "white box" in text
        for attack in ("fgsm 0.3", "bim 0.3", "worst_case 0.3"):
            line = next(line for line in text.splitlines() if attack in line)
            assert line.count("n=24") == 2
            assert line.count("n=9") == 1
    assert "BIM(epsilon=0.3, norm='linf', steps=10" in to_markdown(report)


def test_latex_has_the_table_and_escapes_special_characters(report):
    text = to_latex(report)
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [line.count(" & ") for line in lines] == [3] * len(report.table())
    assert "worst\\_case" in text
    assert not re.search(r"(?<!\\)[%_#$]", text)


def test_html_has_the_accuracies_of_the_markdown(saved, report):
    page = to_html(report, saved, ("gallery",))
    for row in report.rows:
        assert (
            f"{row.accuracy:.1%} [{100 * row.ci_low:.1f}, {100 * row.ci_high:.1f}] n={row.n}"
            in page
        )
    assert 'src="data:image/png;base64,' in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_html_explains_every_column_and_check(report, tmp_path):
    page = to_html(report, tmp_path, ())
    for words in ("Undefended", "Grey box", "White box", "worst_case", "Wilson interval"):
        assert words in page
    for check in report.checks:
        assert page.count(check.name) >= 2, "once with its finding, once with its rule"


def test_names_are_escaped_in_html(report, tmp_path):
    script = "<script>alert(1)</script>"
    for field in ("dataset", "classifier", "defense"):
        page = to_html(with_names(report, **{field: script}), tmp_path, ())
        assert script not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_parts_for_model_cards_are_markdown(report):
    lines = accuracy_table_lines(report)
    assert any(line.startswith("| worst_case 0.3") for line in lines)
    assert any(line.startswith("- **White box**:") for line in lines)
    assert len(failed_check_lines(report, "toy: ")) == 2 * len(report.failed_checks)
