"""Classifiers that are trained alone: what is refused before a run is written or deleted."""

import pytest

from tfdefense.classifiers import ClassifierConfig
from tfdefense.errors import UserError
from tfdefense.experiments.classifier_config import ClassifierExperiment
from tfdefense.experiments.context import ExperimentContext
from tfdefense.experiments.train_classifier import train_classifier
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig


@pytest.mark.parametrize("exists", [False, True])
def test_a_batch_that_is_too_large_is_refused_before_a_run_is_overwritten(tmp_path, exists):
    run = RunDirectory(tmp_path / "run")
    if exists:
        run.create_or_reuse(StoredConfig("classifier", {"classifier": "lenet"}))
        run.classifier_path.touch()
    experiment = ClassifierExperiment("lenet", training=ClassifierConfig(batch_size=1_258))
    message = "--batch_size=1258: more than the 1,257 training images of digits; 1 to 1,257 is"
    with pytest.raises(UserError, match=message):
        train_classifier(experiment, ExperimentContext(overwrite=True), run)
    assert run.path.exists() == run.classifier_path.exists() == exists
