"""Export of the trained defence of a run."""

from pathlib import Path

from tfdefense.evaluation.run_evaluation import load_finished_report
from tfdefense.experiments.load import load_dataset, load_defense, load_experiment
from tfdefense.serving import ModelFacts, Variant, export
from tfdefense.training.run_directory import RunDirectory


def export_run(
    run: RunDirectory,
    output: str | Path,
    variant: Variant | None = None,
    version: int | None = None,
    data_dir: str | None = None,
) -> Path:
    """Export the trained defence of a run, with the results of its report in the model card.

    Args:
      run: the run directory that training wrote.
      output, variant, version: as in `serving.export`.
      data_dir: where TFDS finds the test images on which a variant is compared with the defence.

    Returns:
      The directory written.

    Raises:
      UserError: as `load_defense` and `serving.export`; or the test images cannot be loaded.
    """
    variant = variant or Variant()
    defense, names = load_defense(run), load_experiment(run).class_names
    test = None if variant.is_plain else load_dataset(run, data_dir).test
    facts = ModelFacts(names, load_finished_report(run, None), test)
    return export(defense, output, variant, version, facts)
