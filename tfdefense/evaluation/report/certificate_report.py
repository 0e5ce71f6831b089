"""The files that show a certificate: table, JSON and figure."""

import json
from pathlib import Path

import numpy as np

from tfdefense.evaluation.certification import Certificate
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.figures import figure_style, save_figure, subplots
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_share, markdown_table

SCHEMA = 1


def save_certificate(certificate: Certificate, directory: Path) -> None:
    """Write `certified.json`, `.md`, `.png` and `.svg`."""
    write_text_file(directory / "certified.md", _markdown(certificate))
    write_text_file(directory / "certified.json", _json(certificate))
    _save_figure(certificate, directory / "certified.png")


def certificate_table(certificate: Certificate) -> list[list[str]]:
    """Return the header and a line per radius."""
    n = len(certificate.labels)
    table = [["L2 radius", "certified accuracy"]]
    for radius in certificate.table_radii():
        correct = certificate.correct_within(radius)
        share = format_share(correct / n, *wilson_interval(correct, n), n)
        table.append([f"{radius:.2f}", share])
    return table


def _markdown(certificate: Certificate) -> str:
    settings = certificate.settings
    method = (
        f"Randomized smoothing (Cohen et al. 2019): {settings['first']:,} noisy copies of each image select"
        f" its class, and {settings['draws']:,} others estimate the probability of the class. Each"
        f" certificate is correct with probability {1 - settings['alpha']:g}."
    )
    table = markdown_table(certificate_table(certificate))
    lines = ["# Certified accuracy", "", certificate.summary, "", *table, "", method]
    lines += ["", certificate.note] if certificate.note else []
    return "\n".join([*lines, ""])


def _json(certificate: Certificate) -> str:
    content = {
        "schema": SCHEMA,
        "settings": certificate.settings,
        "n": len(certificate.labels),
        "abstained": certificate.abstained,
        "certified": [
            {"radius": radius, "correct": certificate.correct_within(radius)}
            for radius in certificate.table_radii()
        ],
        "made_with": package_versions(),
    }
    return json.dumps(content, indent=2) + "\n"


def _save_figure(certificate: Certificate, path: Path) -> None:
    n = len(certificate.labels)
    radii = np.unique(np.concatenate([[0.0], certificate.radii]))
    correct = [certificate.correct_within(radius) for radius in radii]
    percent = 100 * np.array(correct) / n
    low, high = 100 * np.array([wilson_interval(count, n) for count in correct]).T
    with figure_style():
        figure, axis = subplots(1, 1, (4.2, 2.8), layout="constrained")
        axis.fill_between(radii, low, high, step="pre", alpha=0.25, linewidth=0)
        axis.step(radii, percent, where="pre")
        axis.set_xlabel("L2 radius, images in [0, 1]")
        axis.set_ylabel("certified accuracy, %")
        axis.set_ylim(0, 100)
        axis.set_xlim(left=0)
        sigma, samples = certificate.settings["sigma"], certificate.settings["draws"]
        axis.set_title(f"noise {sigma:g}, {samples:,} samples, n = {n:,}")
        save_figure(figure, path)
