"""Certification of test images: for each a class, and an L2 radius within which no change alters it."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import tensorflow as tf

from tfdefense.classifiers.core.fingerprint import is_fingerprint_of, known_fingerprint
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core import randomized_smoothing
from tfdefense.defenses.core.defense import DefendedClassifier, Defense
from tfdefense.errors import UserError, require
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils.atomic_write import write_text_file
from tfdefense.utils.progress import ProgressBar
from tfdefense.utils.tables import format_percent
from tfdefense.utils.untrusted_file import read_text_file

CERTIFICATES_FILE = "certified.csv"
# Keys of the stored settings -> flags of bin/certify.
_FLAG_NAMES = {"draws": "estimation_samples", "first": "selection_samples"}
_COLUMNS = ("image", "label", "class", "radius")
_IMAGES_AT_ONCE = 4  # Images that are certified together; results are written after each group.
_RADIUS_STEP = 0.25

CertifiedImage = tuple[int, int, int, float]  # Values of `_COLUMNS`.


@dataclasses.dataclass(frozen=True)
class CertificationConfig:
    """Number of noisy copies of each image, and the confidence (Cohen et al. 2019, figure 2).

    Attributes:
      estimation_samples: copies that estimate the probability of the class (n of the paper), at least 1.
      selection_samples: other copies, which select the class (n0 of the paper), at least 1.
      alpha: probability that a certificate is wrong, in (0, 1).

    Raises:
      UserError: a number of samples is out of range.
    """

    estimation_samples: int = 10_000
    selection_samples: int = 100
    alpha: float = 0.001

    def __post_init__(self) -> None:
        for name in ("estimation_samples", "selection_samples"):
            value = getattr(self, name)
            require(value >= 1, f"--{name}={value}: at least 1 is needed.")


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Certified classes and radii of the first n test images.

    Attributes:
      settings: settings that the certificate depends on, by their keys in `config.json`.
      labels: true classes int [n].
      classes: certified classes int [n]; `randomized_smoothing.ABSTAINS` if none is certified.
      radii: L2 radii float [n] of images in [0, 1]; 0 if no class is certified.
      note: note on the images that readers of the numbers need, or "".
    """

    settings: dict[str, Any]
    labels: np.ndarray
    classes: np.ndarray
    radii: np.ndarray
    note: str = ""

    def correct_within(self, radius: float) -> int:
        """Return the number of images whose correct class is certified within an L2 radius."""
        return int(np.sum((self.classes == self.labels) & (self.radii >= radius)))

    def table_radii(self) -> list[float]:
        """Return multiples of 0.25 up to the largest certified radius."""
        largest = float(self.radii.max(initial=0.0))
        return [step * _RADIUS_STEP for step in range(int(largest / _RADIUS_STEP) + 1)]

    @property
    def abstained(self) -> int:
        """Number of images without a certified class."""
        return int(np.sum(self.classes == randomized_smoothing.ABSTAINS))

    @property
    def summary(self) -> str:
        """The result in three sentences."""
        n, sigma = len(self.labels), self.settings["sigma"]
        average = np.where(self.classes == self.labels, self.radii, 0.0).mean()
        return (
            f"With noise of standard deviation {sigma:g}, the correct class is certified for"
            f" {format_percent(self.correct_within(0.0) / n)} of {n:,} test images. No class is certified for"
            f" {self.abstained:,} images. The average certified radius is {average:.3f} (L2, images in"
            " [0, 1]; 0 for an image whose correct class is not certified)."
        )


class _CertifyingDefense(Protocol):
    """Defence with `certifies`."""

    config: Any

    def certify(
        self, images: tf.Tensor, radii: tf.Tensor, estimation_draws: int, selection_draws: int
    ) -> tuple[tf.Tensor, tf.Tensor]: ...


def certify(
    defense: Defense,
    split: Split,
    run: RunDirectory,
    config: CertificationConfig | None = None,
    *,
    overwrite: bool = False,
) -> Certificate:
    """Certify images and store the results after each group of images (Cohen et al. 2019, figure 2).

    A call that was interrupted, or that had fewer images, is resumed.

    Args:
      defense: a trained defence that `certifies`.
      split: test images.
      run: directory of the certificate.
      config: number of samples and confidence; None means the defaults.
      overwrite: delete the results in the directory first.

    Raises:
      UserError: a defence that cannot certify, a number out of range, or a directory with other
        settings, weights or images.
    """
    require(
        defense.certifies,
        f"--run: {defense.name} cannot certify. Give a run of --defense=denoised_smoothing.",
    )
    config = config or CertificationConfig()
    certifier = cast(_CertifyingDefense, defense)
    sigma = certifier.config.sigma
    vote_radii = tf.constant(
        randomized_smoothing.certified_radii(config.estimation_samples, config.alpha, sigma)
    )
    settings = {
        "defense": defense.name,
        "classifier": defense.classifier.name,
        "dataset": split.dataset,
        "draws": config.estimation_samples,
        "first": config.selection_samples,
        "alpha": config.alpha,
        "sigma": sigma,
        "seed": defense.seed,
    }
    _open_directory(run, settings, defense.defend(), overwrite=overwrite)
    path = run.path / CERTIFICATES_FILE
    rows = _load_rows(path, split)

    @tf.function(
        input_signature=[tf.TensorSpec([None, *split.image_shape], tf.float32)], autograph=False
    )
    def certify_batch(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return certifier.certify(
            images, vote_radii, config.estimation_samples, config.selection_samples
        )

    n = len(split)
    with ProgressBar(f"certifying {defense.defend().name}", n, min(len(rows), n)) as progress:
        for start in range(len(rows), n, _IMAGES_AT_ONCE):
            part = slice(start, min(start + _IMAGES_AT_ONCE, n))
            classes, radii = certify_batch(tf.constant(split.images[part]))
            rows += zip(
                range(part.start, part.stop),
                split.labels[part].tolist(),
                classes.numpy().tolist(),
                radii.numpy().tolist(),
                strict=True,
            )
            _save_rows(path, rows)
            progress.advance(part.stop - part.start)
    columns = list(zip(*rows[:n], strict=True))
    labels, classes, radii = (np.array(columns[place]) for place in (1, 2, 3))
    return Certificate(settings, labels, classes, radii, split.note)


def _open_directory(
    run: RunDirectory, settings: dict[str, Any], pipeline: DefendedClassifier, *, overwrite: bool
) -> None:
    """Create the directory, or check that it has the same settings and weights."""
    metadata = {"weights": known_fingerprint(pipeline)}
    stored = StoredConfig("certificate", settings, metadata, flag_names=_FLAG_NAMES)
    run.create_or_reuse(stored, overwrite=overwrite)
    stored_weights = run.read_config().metadata_value("weights", str | None, None)
    require(
        is_fingerprint_of(stored_weights, pipeline),
        f"--{run.flag}={run.path}: holds certificates of other weights with the same settings. Choose"
        f" another --{run.flag}, or start afresh with --overwrite.",
    )


def _load_rows(path: Path, split: Split) -> list[CertifiedImage]:
    """Return the results that an earlier call wrote."""
    if not path.is_file():
        return []
    text = read_text_file(path)
    try:
        rows = [
            (int(image), int(label), int(certified), float(radius))
            for image, label, certified, radius in list(csv.reader(text.splitlines()))[1:]
        ]
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error}). To delete it: --overwrite.") from error
    count = min(len(rows), len(split))
    stored = [row[:2] for row in rows[:count]]
    require(
        stored == list(enumerate(split.labels[:count].tolist())),
        f"{path}: holds certificates of other images. To delete them: --overwrite.",
    )
    return rows


def _save_rows(path: Path, rows: Sequence[CertifiedImage]) -> None:
    lines = [_COLUMNS, *rows]
    write_text_file(path, "".join(f"{','.join(map(str, line))}\n" for line in lines))
