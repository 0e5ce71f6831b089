"""A report for people: in a terminal, as Markdown, as one HTML file, and as a table for a paper."""

import base64
import html
import re
from pathlib import Path

import markdown

from tfdefense.evaluation.detection import detector_section
from tfdefense.evaluation.recovery import restored_section
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.threat_models import THREAT_MODEL_TITLES
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.tables import latex_table, markdown_table, text_table

_MEANING = {
    "grey_box": "*Grey box*: the attack sees the classifier alone and its images are purified afterwards.",
    "white_box": "*White box*: the attack sees purifier and classifier.",
    "transfer": "*Transfer*: the attack sees another classifier alone.",
    "black_box": "*Black box*: the attack sees nothing and asks for logits.",
}


def to_text(report: Report) -> str:
    """The table for a terminal."""
    return "\n".join(text_table(report.table()))


def to_markdown(report: Report, pictures: tuple[str, ...] = ("gallery",)) -> str:
    """The report that a person reads.

    Args:
      report: with everything.
      pictures: of "gallery", "epsilon", "perturbations", "training": those that lie beside it as PNG files.
    """
    first = report.rows[0]
    made = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    return "\n".join(
        [
            f"# {report.defense} before {first.classifier} on {first.dataset}",
            "",
            report.summary,
            "",
            *failed_check_lines(report),
            *accuracy_table_lines(report),
            "",
            *_picture("Gallery", "gallery", pictures),
            *_curve_section(report, pictures),
            *_perturbation_section(report, pictures),
            *restored_section(report.restored),
            *detector_section(report.detections),
            *_training_section(report, pictures),
            *_check_section(report),
            "## How it was made",
            "",
            *(f"- {line}" for line in (*report.attacks, *report.notes)),
            f"- Versions: {made}.",
            "",
        ]
    )


def accuracy_table_lines(report: Report) -> list[str]:
    """The table of accuracies, and how to read it, as lines of Markdown."""
    return [
        *markdown_table(report.table()),
        "",
        "Accuracy on test images with its 95 % Wilson interval and the number of images.",
        *(_MEANING[box] for box in report.threat_models()),
        "*worst_case*: an image counts only if it withstood every attack of its column.",
    ]


def to_html(report: Report, directory: Path, pictures: tuple[str, ...]) -> str:
    """The same as one file, with its pictures inside.

    Args:
      report, pictures: as in `to_markdown`.
      directory: where the pictures lie.
    """
    return html_page(to_markdown(report, pictures), directory)


def html_page(text: str, directory: Path) -> str:
    """Markdown whose first line is its title as one HTML file, with its PNG pictures of `directory` inside."""
    body = markdown.markdown(text, extensions=["tables"], output_format="html")
    body = body.replace("<table>", "<div><table>").replace("</table>", "</table></div>")
    body = re.sub(r'src="([\w.-]+\.png)"', lambda it: f'src="{_inside(directory / it[1])}"', body)
    return _PAGE.format(title=html.escape(text.splitlines()[0].removeprefix("# ")), body=body)


def failed_check_lines(report: Report, whose: str = "") -> list[str]:
    """A quotation of Markdown for each check that failed; `html_page` makes it red."""
    return [f"> ✗ **{whose}{each.name}: no.** {each.verdict}\n" for each in report.failures]


def to_latex(report: Report) -> str:
    """The table, for a paper."""
    first = report.rows[0]
    caption = f"{report.defense} before {first.classifier} on {first.dataset}. {report.summary}"
    return "\n".join(latex_table(report.table(), caption)) + "\n"


def _picture(title: str, name: str, pictures: tuple[str, ...]) -> list[str]:
    return [f"![{title}]({name}.png)", ""] if name in pictures else []


def _curve_section(report: Report, pictures: tuple[str, ...]) -> list[str]:
    curve = report.curve
    if not curve:
        return []
    names = [name for name in ("undefended", "grey_box", "white_box") if name in curve]
    lines = [["epsilon", *(THREAT_MODEL_TITLES.get(name, name) for name in names)]]
    for number, epsilon in enumerate(curve["epsilon"]):
        lines.append([f"{epsilon:.3g}", *(f"{curve[name][number]:.0%}" for name in names)])
    return [
        "## Accuracy over epsilon",
        "",
        f"PGD with {curve['steps']} steps, n = {curve['n']:,}.",
        "",
        *_picture("Accuracy over epsilon", "epsilon", pictures),
        *markdown_table(lines),
        "",
    ]


def _perturbation_section(report: Report, pictures: tuple[str, ...]) -> list[str]:
    lines = [["attack", "threat model", "success", "L1 L2 L∞ added", "left after purifying"]]
    for row in report.rows:
        if row.defense != report.defenses[-1] or row.l1 is None:
            continue
        success = "-" if row.attack == "none" or row.success is None else f"{row.success:.1%}"
        box = THREAT_MODEL_TITLES.get(row.threat_model, "clean")
        added = f"{row.l1:.3g}, {row.l2:.3g}, {row.linf:.3g}"
        left = f"{row.left_l1:.3g}, {row.left_l2:.3g}, {row.left_linf:.3g}"
        lines.append([row.attack, box, success, added, left])
    return [
        "## What attacks add and what is left",
        "",
        "Mean norms of the difference from the clean image; *success*: of the images that were right before.",
        "",
        *_picture("Norms of what attacks add and of what is left", "perturbations", pictures),
        *markdown_table(lines),
        "",
    ]


def _training_section(report: Report, pictures: tuple[str, ...]) -> list[str]:
    picture = _picture("Losses and validation accuracy", "training", pictures)
    white = report.row(report.defense, "worst_case", "white_box")
    told = (
        "Validation accuracies are grey box; white box, the finished defence leaves"
        f" {white.accuracy:.1%} (n = {white.n:,}) of test images."
    )
    return ["## Its training", "", told, "", *picture] if picture else []


def _check_section(report: Report) -> list[str]:
    lines = [["check", "", "what was found"]]
    lines += [[check.name, "✓" if check.passed else "✗", check.verdict] for check in report.sanity]
    return ["## Can it be trusted?", "", *markdown_table(lines), ""] if report.sanity else []


def _inside(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ line-height: 1.2; }}
h2 {{ margin-top: 2.5rem; border-bottom: 1px solid #ddd; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: 0.35rem 0.8rem 0.35rem 0; border-bottom: 1px solid #e5e5e5; vertical-align: top; }}
blockquote {{ margin: 1rem 0; padding: 0.5rem 1rem; color: #b00020; background: #fdecee; border-left: 4px solid #b00020; }}
blockquote p {{ margin: 0; }}
img {{ max-width: 100%; }}
code {{ font-size: 0.8rem; overflow-wrap: anywhere; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
