import re

import pytest

from tfdefense.utils.tables import (
    Markdown,
    escape_latex,
    escape_markdown,
    format_percent,
    format_share,
    latex_table,
    markdown_table,
    text_table,
)

TABLE = [["attack", "accuracy"], ["worst_case", "50.0% [45.0, 55.0] n=400"], ["a|b", "1e3"]]


def test_text_table_has_a_rule_under_its_header():
    header, rule, *rows = text_table(TABLE)
    assert header == "attack      accuracy"
    assert set(rule) == {"-", " "}
    assert rows[0] == "worst_case  50.0% [45.0, 55.0] n=400"
    assert rows[1].endswith("1e3"), "cells are not read as numbers"


def test_markdown_table_is_a_github_table_with_escaped_bars():
    header, rule, *rows = markdown_table(TABLE)
    assert re.fullmatch(r"\| attack +\| accuracy +\|", header)
    assert re.fullmatch(r"\|-+\|-+\|", rule)
    assert rows[0] == "| worst_case | 50.0% [45.0, 55.0] n=400 |"
    assert r"a\|b" in rows[1]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<b> [a](b) [a][b]", r"&lt;b> [a]\(b) [a]\[b]"),
        ("http://a.example WWW.a.example", "http&#58;//a.example WWW&#46;a.example"),
        ("a@b.example", "a&#64;b.example"),
        ("`a<b` <c> ``d`<e>``", "`a<b` &lt;c> ``d`<e>``"),
        ("a ` <b>", "a &#96; &lt;b>"),
        ("`` a ` <b>", "&#96;&#96; a &#96; &lt;b>"),
        ("\\`<b>` \\\\`<b>`", "\\&#96;&lt;b>&#96; \\\\&#96;&lt;b>&#96;"),
    ],
)
def test_markdown_contains_no_html_and_no_link(text, escaped):
    assert escape_markdown(text) == escaped


def test_latex_table_loads_booktabs_and_escapes_cells_and_caption():
    lines = latex_table(TABLE, "50% of #1 & more")
    assert lines[0] == r"\begin{table}"
    assert lines[1] == r"\caption{50\% of \#1 \& more}"
    assert lines[2] == r"\begin{tabular}{lr}"
    assert [line for line in lines if "rule" in line] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert any(r"worst\_case" in line and r"50.0\% [45.0, 55.0] n=400" in line for line in lines)
    assert lines[-2:] == [r"\end{tabular}", r"\end{table}"]


def test_all_special_characters_of_latex_are_escaped():
    assert escape_latex("%&#_$") == r"\%\&\#\_\$"
    assert escape_latex("{}") == r"\{\}"
    assert escape_latex("~^\\") == r"\textasciitilde{}\^{}\textbackslash{}"


def test_share_has_interval_and_n():
    assert format_share(0.977, 0.974, 0.98, 10_000) == "97.7% [97.4, 98.0] n=10,000"


def test_markdown_of_our_own_is_not_escaped():
    table = [["table"], [Markdown("[2](2.md): a|b")], ["[3](3.md)"]]
    assert [line.strip("| ") for line in markdown_table(table)[2:]] == [
        r"[2](2.md): a\|b",
        r"[3]\(3.md)",
    ]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.0%"),
        (1, "100.0%"),
        (0.5, "50.0%"),
        (0.9999, "99.99%"),
        (0.0004, "0.04%"),
        (1e-9, "0.000000%"),
    ],
)
def test_only_all_is_shown_as_100_percent_and_only_none_as_0(share, text):
    assert format_percent(share) == text


def test_a_share_without_decimals_gets_some_where_it_would_be_shown_as_all():
    assert format_percent(299 / 300, 0) == "99.7%"
    assert format_percent(0.98, 0) == "98%"
