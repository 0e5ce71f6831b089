"""Certified accuracy: for each image a class and a radius within which no change can turn it, and what that amounts to."""

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import tensorflow as tf

from tfdefense.classifiers.core.fingerprint import known_fingerprint
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core import randomized_smoothing
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import require
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.figures import STYLE, save_figure, subplots
from tfdefense.utils.package_versions import package_versions
from tfdefense.utils.progress import ProgressBar
from tfdefense.utils.statistics import wilson_interval
from tfdefense.utils.tables import format_share, markdown_table

SCHEMA = 1
CERTIFICATES_FILE = "certified.csv"
# Keys of the stored settings -> flags of bin/certify.
_FLAG_NAMES = {"draws": "estimation_samples", "first": "selection_samples"}
_COLUMNS = ("image", "label", "class", "radius")
_CHUNK = 4  # Images that are certified, and written down, together.
_RADIUS_STEP = 0.25
Row = tuple[int, int, int, float]


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What is certified of the first n test images.

    Attributes:
      settings: what it depends on, by flag name.
      labels, classes: int [n]; a class of `smoothing.ABSTAINS` where none is sure.
      radii: float [n], L2, images in [0, 1]; 0 where it abstains.
      note: what a reader of figures from these images must know, or "".
    """

    settings: dict
    labels: np.ndarray
    classes: np.ndarray
    radii: np.ndarray
    note: str = ""

    def correct_within(self, radius: float) -> int:
        """How many images are certainly classified correctly, whatever change of L2 norm below `radius` is made."""
        return int(np.sum((self.classes == self.labels) & (self.radii >= radius)))

    def radii_shown(self) -> list[float]:
        """Multiples of 0.25 as far as anything is certified."""
        furthest = float(self.radii.max(initial=0.0))
        return [step * _RADIUS_STEP for step in range(int(furthest / _RADIUS_STEP) + 1)]

    @property
    def summary(self) -> str:
        """One sentence."""
        n, sigma = len(self.labels), self.settings["sigma"]
        abstained = int(np.sum(self.classes == randomized_smoothing.ABSTAINS))
        average = np.where(self.classes == self.labels, self.radii, 0.0).mean()
        return (
            f"With noise of {sigma:g}, {self.correct_within(0.0) / n:.1%} of {n:,} test images are classified correctly and"
            f" certainly; it abstains on {abstained:,}. Average certified radius {average:.3f} (L2, images in [0, 1])."
        )


def certify(
    defense: Defense,
    split: Split,
    run: RunDirectory,
    draws: int = 10_000,
    first: int = 100,
    alpha: float = 0.001,
    overwrite: bool = False,
) -> Certificate:
    """Certifies images one after the other into `run`; goes on where an earlier call ended, of fewer images or killed.

    Certify of Cohen et al. 2019 (figure 2): `first` draws choose a class, `draws` others judge it.

    Args:
      defense: trained, one that `certifies`.
      split: test images.
      run: the directory of the certificate.
      draws: that judge each image.
      first: that choose its class before.
      alpha: how probably a certificate may be wrong.
      overwrite: throw away what is in the directory.

    Raises:
      UserError: a defence that certifies nothing, a number out of range, or a directory of other settings.
    """
    require(
        defense.certifies,
        f"--run: {defense.name} certifies nothing; --defense=denoised_smoothing does.",
    )
    for name, value in (("draws", draws), ("first", first)):
        require(value >= 1, f"--{_FLAG_NAMES[name]}={value}: at least 1 needed.")
    sigma = defense.config.sigma
    radii_of = tf.constant(randomized_smoothing.certified_radii(draws, alpha, sigma))
    settings = {
        "defense": defense.name,
        "classifier": defense.classifier.name,
        "dataset": split.dataset,
        "draws": draws,
        "first": first,
        "alpha": alpha,
        "sigma": sigma,
        "seed": defense.seed,
    }
    weights = known_fingerprint(defense.defend())
    run.create_or_reuse(
        StoredConfig("certificate", settings, {"weights": weights}, flag_names=_FLAG_NAMES),
        overwrite=overwrite,
    )
    there = run.read_config().metadata_value("weights", str | None, None)
    require(
        None in (there, weights) or there == weights,
        f"--{run.flag}={run.path}: holds certificates of other weights, of the same settings. Name another --{run.flag},"
        " or start afresh with --overwrite.",
    )
    path = run.path / CERTIFICATES_FILE
    rows = _read(path, split)

    @tf.function(
        input_signature=[tf.TensorSpec([None, *split.image_shape], tf.float32)], autograph=False
    )
    def once(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return defense.certify(images, radii_of, draws, first)

    with ProgressBar(
        f"certifying {defense.defend().name}", len(split), min(len(rows), len(split))
    ) as progress:
        for start in range(len(rows), len(split), _CHUNK):
            part = slice(start, min(start + _CHUNK, len(split)))
            classes, radii = once(tf.constant(split.images[part]))
            found = zip(
                range(part.start, part.stop),
                split.labels[part].tolist(),
                classes.numpy().tolist(),
                radii.numpy().tolist(),
                strict=True,
            )
            rows += found
            _write(path, rows)
            progress.advance(part.stop - part.start)
    columns = list(zip(*rows[: len(split)], strict=True))
    labels, classes, radii = (np.array(columns[place]) for place in (1, 2, 3))
    return Certificate(settings, labels, classes, radii, split.note)


def save_certificate(certificate: Certificate, directory: Path) -> None:
    """Writes `certified.json`, `.md`, `.png` and `.svg` beside the rows."""
    lines = certificate_table(certificate)
    notes = ["", certificate.note] if certificate.note else []
    settings = certificate.settings
    about = (
        f"Randomized smoothing (Cohen et al. 2019): {settings['first']:,} draws choose a class, {settings['draws']:,} others judge"
        f" it; each certificate is right with probability {1 - settings['alpha']:g}."
    )
    text = ["# Certified accuracy", "", certificate.summary, "", *markdown_table(lines), "", about]
    measured = [
        {"radius": radius, "correct": certificate.correct_within(radius)}
        for radius in certificate.radii_shown()
    ]
    found = {
        "schema": SCHEMA,
        "settings": settings,
        "n": len(certificate.labels),
        "abstained": int(np.sum(certificate.classes == randomized_smoothing.ABSTAINS)),
        "certified": measured,
        "made_with": package_versions(),
    }

    write_text_file(directory / "certified.md", "\n".join([*text, *notes, ""]))
    write_text_file(directory / "certified.json", json.dumps(found, indent=2) + "\n")
    _save_curve(certificate, directory / "certified.png")


def certificate_table(certificate: Certificate) -> list[list[str]]:
    """Header and a line for each radius."""
    n = len(certificate.labels)
    lines = [["L2 radius", "certified accuracy"]]
    for radius in certificate.radii_shown():
        correct = certificate.correct_within(radius)
        lines.append([f"{radius:.2f}", format_share(correct / n, *wilson_interval(correct, n), n)])
    return lines


def _read(path: Path, split: Split) -> list[Row]:
    """The rows that an earlier call wrote."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = [
            (int(image), int(label), int(found), float(radius))
            for image, label, found, radius in list(csv.reader(file))[1:]
        ]
    count = min(len(rows), len(split))
    same = [row[:2] for row in rows[:count]] == list(enumerate(split.labels[:count].tolist()))
    require(same, f"{path}: is of other images; --overwrite begins anew.")
    return rows


def _write(path: Path, rows: Sequence[Row]) -> None:
    lines = [_COLUMNS, *rows]
    write_text_file(path, "".join(f"{','.join(map(str, line))}\n" for line in lines))


def _save_curve(certificate: Certificate, path: Path) -> None:
    n = len(certificate.labels)
    radii = np.unique(np.concatenate([[0.0], certificate.radii]))
    correct = [certificate.correct_within(radius) for radius in radii]
    shares = 100 * np.array(correct) / n
    low, high = 100 * np.array([wilson_interval(count, n) for count in correct]).T
    with matplotlib.rc_context(STYLE):
        figure, axis = subplots(1, 1, (4.2, 2.8), layout="constrained")
        axis.fill_between(radii, low, high, step="pre", alpha=0.25, linewidth=0)
        axis.step(radii, shares, where="pre")
        axis.set_xlabel("L2 radius, images in [0, 1]")
        axis.set_ylabel("certified accuracy, %")
        axis.set_ylim(0, 100)
        axis.set_xlim(left=0)
        sigma, draws = certificate.settings["sigma"], certificate.settings["draws"]
        axis.set_title(f"noise {sigma:g}, {draws:,} draws, n = {n:,}")
        save_figure(figure, path)
