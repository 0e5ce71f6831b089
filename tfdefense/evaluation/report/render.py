"""A report as text, Markdown, HTML and LaTeX."""

import dataclasses
from pathlib import Path

from tfdefense.evaluation.report import sections
from tfdefense.evaluation.report.html_page import page_html
from tfdefense.evaluation.report.page import (
    Page,
    Section,
    page_markdown,
    section_lines,
    warning_lines,
)
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.report.surrogate_section import surrogate_section
from tfdefense.evaluation.report.suspicion_section import suspicion_section
from tfdefense.utils.tables import latex_table, text_table


def to_text(report: Report) -> str:
    """Return the table of accuracies for a terminal."""
    return "\n".join(text_table(report.table()))


def to_markdown(report: Report, pictures: tuple[str, ...] = ("gallery",)) -> str:
    """Return the report as Markdown.

    Args:
      report: the report.
      pictures: some of "gallery", "epsilon", "perturbations", "roc" and "training": the PNG files in
        the directory of the page.
    """
    return page_markdown(report_page(report, pictures))


def to_html(report: Report, directory: Path, pictures: tuple[str, ...]) -> str:
    """Return the report as one HTML file that contains its pictures.

    Args:
      report: the report.
      directory: where the pictures are.
      pictures: as in `to_markdown`.
    """
    return page_html(report_page(report, pictures), directory)


def to_latex(report: Report) -> str:
    """Return the table of accuracies for a LaTeX document that loads booktabs."""
    caption = f"{_title(report)}. {report.summary}"
    return "\n".join(latex_table(report.table(), caption)) + "\n"


def report_page(report: Report, pictures: tuple[str, ...]) -> Page:
    """Return the content of the report page; arguments as in `to_markdown`."""
    shown = [sections.accuracy_section(report)]
    if report.notes:
        shown.append(sections.note_section(report))
    if "gallery" in pictures:
        shown.append(sections.gallery_section())
    if report.curve:
        shown.append(sections.epsilon_section(report))
    shown.append(sections.perturbation_section(report))
    if any(each.n for each in report.recoveries):
        shown.append(sections.recovery_section(report))
    if report.surrogates:
        shown.append(surrogate_section(report))
    if report.detections:
        shown.append(sections.detector_section(report))
    if report.suspicion:
        shown.append(suspicion_section(report))
    if "training" in pictures:
        shown.append(sections.training_section(report))
    if report.checks:
        shown.append(sections.check_section(report))
    shown.append(sections.origin_section(report))
    warnings = sections.failed_check_terms(report)
    kept = tuple(_without_missing_picture(section, pictures) for section in shown)
    return Page(_title(report), report.summary, warnings, kept)


def accuracy_table_lines(report: Report) -> list[str]:
    """Return the table of accuracies and the meaning of its columns as Markdown lines."""
    return section_lines(sections.accuracy_section(report))


def failed_check_lines(report: Report, label: str = "") -> list[str]:
    """Return a Markdown quotation per failed check; `label` comes before its name."""
    return warning_lines(sections.failed_check_terms(report, label))


def _without_missing_picture(section: Section, pictures: tuple[str, ...]) -> Section:
    picture = section.picture
    if picture is None or Path(picture.file).stem in pictures:
        return section
    return dataclasses.replace(section, picture=None)


def _title(report: Report) -> str:
    first = report.rows[0]
    return f"{report.defense} in front of {first.classifier} on {first.dataset}"
