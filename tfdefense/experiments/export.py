"""Export of the trained defence of a run."""

from pathlib import Path

from tfdefense.data import Dataset
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.errors import UserError, require
from tfdefense.evaluation import Report
from tfdefense.experiments.context import ImagePlace
from tfdefense.experiments.load import (
    StoredExperiment,
    load_defense,
    load_experiment,
    load_unchecked_dataset,
    require_training_images,
)
from tfdefense.experiments.own_report import fits_model, load_own_report
from tfdefense.serving import ModelFacts, Variant, export
from tfdefense.serving.exporter.output_directory import version_directory
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.progress import print_line


def export_run(
    run: RunDirectory,
    output: str | Path,
    variant: Variant | None = None,
    version: int | None = None,
    place: ImagePlace | None = None,
) -> Path:
    """Export the trained defence of a run, with the results of its report in the model card.

    A report of another classifier or, if the images are loaded, of other test images is left out, and
    a line says so.

    Args:
      run: the run directory that training wrote.
      output, variant, version: as in `serving.export`.
      place: where the images are now: those of the validation calibrate the output `suspicion`, and
        on test images a variant is compared with the defence. Images are downloaded only for that
        comparison. If no place is given and they are not on disk, a float32 SavedModel has no such
        output, and a line says so.

    Returns:
      The directory written.

    Raises:
      UserError: as `load_defense` and `serving.export`; the report is damaged or of another defence; or
        the images do not fit the classifier, or cannot be loaded although they are needed.
    """
    variant = variant or Variant()
    # The place is checked before models are loaded, which takes longer.
    version_directory(Path(output), version, variant.format)
    defense, stored = load_defense(run), load_experiment(run)
    report = load_own_report(run, defense)
    dataset = _load_images(run, stored, place or ImagePlace(), is_needed=not variant.is_plain)
    if dataset is not None:
        _require_fitting_images(run, defense, dataset.validation)
    report = _fitting_report(run, report, defense, dataset)
    facts = ModelFacts(stored.class_names, report)
    if dataset is not None:
        test = None if variant.is_plain else dataset.test
        facts = ModelFacts(stored.class_names, report, test, dataset.validation)
    return export(defense, output, variant, version, facts)


def _load_images(
    run: RunDirectory, stored: StoredExperiment, place: ImagePlace, *, is_needed: bool
) -> Dataset | None:
    """Load the dataset of a run; return None if it is neither needed nor given nor on disk."""
    try:
        dataset = load_unchecked_dataset(run, stored, place, download=is_needed)
    except UserError as error:
        if is_needed or place != ImagePlace():
            raise
        print_line(
            f"The output suspicion is left out: its validation images cannot be loaded. {error}"
        )
        return None
    require_training_images(run, stored, dataset)
    return dataset


def _fitting_report(
    run: RunDirectory, report: Report | None, defense: Defense, dataset: Dataset | None
) -> Report | None:
    """Return a report if it is about the exported model; print a line and return None if it is not."""
    if report is None or fits_model(report, defense, dataset):
        return report
    changed = "classifier" if dataset is None else "test images or the classifier"
    print_line(
        f"The report is left out of the model card: the {changed} changed since {run.path / 'report.json'}"
        f" was made. Make it again with: bin/evaluate --run={run.path}"
    )
    return None


def _require_fitting_images(run: RunDirectory, defense: Defense, images: Split) -> None:
    """Raise `UserError` unless images have the shape and the classes of the classifier."""
    given = (*images.image_shape, images.num_classes)
    needed = (*defense.classifier.image_shape, defense.classifier.num_classes)
    require(
        given == needed,
        f"{run}: its dataset has images of {given[:3]} and {given[3]} classes; its classifier takes {needed[:3]} and"
        f" gives {needed[3]}. The files do not belong together.",
    )
