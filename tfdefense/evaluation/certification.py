"""Certification of test images: for each a class, and an L2 radius within which no change alters it."""

import dataclasses
from typing import Any, Protocol, cast

import numpy as np
import tensorflow as tf

from tfdefense.classifiers.core.fingerprint import (
    is_fingerprint_of,
    known_fingerprint,
    model_code_revision,
)
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core import randomized_smoothing
from tfdefense.defenses.core.defense import DefendedClassifier, Defense
from tfdefense.errors import require
from tfdefense.evaluation.certified_images import (
    CertifiedImage,
    image_fingerprint,
    load_certified_images,
    save_certified_images,
)
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.utils.progress import ProgressBar
from tfdefense.utils.tables import format_percent

CERTIFICATES_FILE = "certified.csv"
# Keys of the stored settings -> flags of bin/certify.
_FLAG_NAMES = {"draws": "estimation_samples", "first": "selection_samples"}
_IMAGES_AT_ONCE = 4  # Images that are certified together; results are written after each group.
_RADIUS_STEP = 0.25
_MAX_SAMPLES = 2**31 - 1  # Noisy copies have numbers in int32.


@dataclasses.dataclass(frozen=True)
class CertificationConfig:
    """Number of noisy copies of each image, and the confidence (Cohen et al. 2019, figure 2).

    Attributes:
      estimation_samples: copies that estimate the probability of the class (n of the paper), at least 1.
      selection_samples: other copies, which select the class (n0 of the paper), at least 1.
      alpha: probability that a certificate is wrong, in (0, 1).

    Raises:
      UserError: a number of samples is out of range, or their sum is 2^31 or more.
    """

    estimation_samples: int = 10_000
    selection_samples: int = 100
    alpha: float = 0.001

    def __post_init__(self) -> None:
        for name in ("estimation_samples", "selection_samples"):
            value = getattr(self, name)
            require(value >= 1, f"--{name}={value}: at least 1 is needed.")
        value, name = max(
            (self.estimation_samples, "estimation_samples"),
            (self.selection_samples, "selection_samples"),
        )
        require(
            self.estimation_samples + self.selection_samples <= _MAX_SAMPLES,
            f"--{name}={value}: estimation and selection samples together are more than {_MAX_SAMPLES:,}, the limit."
            " Give a smaller number.",
        )


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
        settings, weights, code or images.
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
    rows = load_certified_images(path, split, float(tf.reduce_max(vote_radii)))

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
            for number, certified, radius in zip(
                range(part.start, part.stop),
                classes.numpy().tolist(),
                radii.numpy().tolist(),
                strict=True,
            ):
                label, fingerprint = int(split.labels[number]), image_fingerprint(split, number)
                rows.append(CertifiedImage(number, label, certified, radius, fingerprint))
            save_certified_images(path, rows)
            progress.advance(part.stop - part.start)
    columns = list(zip(*rows[:n], strict=True))
    labels, classes, radii = (np.array(columns[place]) for place in (1, 2, 3))
    return Certificate(settings, labels, classes, radii, split.note)


def _open_directory(
    run: RunDirectory, settings: dict[str, Any], pipeline: DefendedClassifier, *, overwrite: bool
) -> None:
    """Create the directory, or check that it has the same settings, weights and code.

    Directories of earlier versions have no revision of the code; any code resumes them.
    """
    weights = known_fingerprint(pipeline)
    code = None if weights is None else model_code_revision(pipeline)
    metadata = {"weights": weights, "model_code": code}
    config = StoredConfig("certificate", settings, metadata, flag_names=_FLAG_NAMES)
    run.create_or_reuse(config, overwrite=overwrite)
    stored = run.read_config()
    stored_weights = stored.metadata_value("weights", str | None, None)
    stored_code = stored.metadata_value("model_code", str | None, None)
    for name, is_same in (
        ("weights", is_fingerprint_of(stored_weights, pipeline)),
        ("code", None in (stored_code, code) or stored_code == code),
    ):
        require(
            is_same,
            f"{run}: holds certificates of other {name} with the same settings. Choose another"
            f" --{run.flag}, or start afresh with --overwrite.",
        )
