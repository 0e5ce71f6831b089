"""Models to attack: a classifier alone, or the trained pipeline of a run."""

import dataclasses

from tfdefense.attacks import Attack
from tfdefense.classifiers import FrozenClassifier
from tfdefense.data import Dataset
from tfdefense.defenses.core.defense import DefendedClassifier
from tfdefense.evaluation.attack_plan import require_fitting
from tfdefense.experiments.context import ExperimentContext, ImagePlace
from tfdefense.experiments.inputs import ClassifierSelection, DataConfig
from tfdefense.experiments.load import load_dataset, load_defense
from tfdefense.training.run_directory import RunDirectory

_CLASSIFIER_SEED = 0


@dataclasses.dataclass(frozen=True)
class AttackTarget:
    """A model to attack.

    Attributes:
      model: images float32 [N, H, W, C] in [0, 1] -> logits [N, K].
      dataset: the images.
    """

    model: FrozenClassifier | DefendedClassifier
    dataset: Dataset


def load_pipeline(run: RunDirectory, place: ImagePlace | None = None) -> AttackTarget:
    """Load purifier and classifier of a run, to be attacked together (white box).

    Args:
      run: the run directory that training wrote.
      place: where the images are now.

    Raises:
      UserError: as `load_defense` and `load_dataset`.
    """
    dataset = load_dataset(run, place)
    return AttackTarget(load_defense(run).defend(), dataset)


def load_classifier_target(
    data: DataConfig, selection: ClassifierSelection, context: ExperimentContext, attack: Attack
) -> AttackTarget:
    """Load a classifier to attack; a registered one is trained first if there is no trained one.

    Args:
      data: the images.
      selection: the classifier; if it names none, the default for the images.
      context: directories and permissions.
      attack: the attack, whose needs are checked before anything is trained.

    Raises:
      UserError: there is no such dataset or classifier, the classifier takes other images, or the
        attack needs more classes.
    """
    with context.trust():
        found = selection.find() if selection.classifier else None
        dataset = data.load_dataset(context.data_dir)
        require_fitting([attack], dataset.image_shape, dataset.num_classes, flag="attack")
        found = found or selection.find(dataset)
        return AttackTarget(found.open(dataset, context.runs_dir, _CLASSIFIER_SEED), dataset)
