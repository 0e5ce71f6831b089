"""What a white-box attacker stands before: the defence with its detector, if it has one, and without."""

import dataclasses

import numpy as np

from tfdefense.attacks import Attack
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import RejectingClassifier
from tfdefense.evaluation.detection import REJECTED
from tfdefense.evaluation.per_image_results import PerImageResults
from tfdefense.evaluation.runner import ModelRunner


class EvaluatedPipeline:
    """What stands before the attacker: purifier and classifier.

    Attributes:
      name: of the defence in the report.
    """

    def __init__(self, name: str, pipeline: ModelRunner) -> None:
        self.name = name
        self.pipeline = pipeline

    def judge(self, split: Split, cell: PerImageResults) -> PerImageResults:
        """What the pipeline made of `split`, with what the detector, if there is one, says to it."""
        del split
        return cell

    def attacked_further(self, attack: Attack, split: Split, crafted: Split) -> Split:
        """`crafted`, where an attack on the pipeline made it, with what an attacker of this column adds."""
        del attack, split
        return crafted


class _DetectingColumn(EvaluatedPipeline):
    """The same with the defence's detector before it."""

    def __init__(self, name: str, pipeline: ModelRunner) -> None:
        super().__init__(name, pipeline)
        self.rejecting = ModelRunner(RejectingClassifier(pipeline.model), pipeline.batch_size)

    def judge(self, split: Split, cell: PerImageResults) -> PerImageResults:
        excess = self.pipeline.ask(self.pipeline.model.defense.excess, split)
        predicted = np.where(excess > 0, REJECTED, cell.predicted)
        return dataclasses.replace(cell, predicted=predicted, excess=excess)

    def attacked_further(self, attack: Attack, split: Split, crafted: Split) -> Split:
        """Where that is refused, or did not fool, an attack on detector and pipeline at once.

        It aims at the class that `crafted` reached, or else at the runner-up; what takes no targets has a stand-in.
        """
        attack = attack.aiming(split.num_classes + 1)  # A class beside the others is "refused".
        cell = self.pipeline.judge(crafted, split)
        reached, judged = cell.predicted, self.judge(crafted, cell).predicted
        through = (judged != REJECTED) & (judged != split.labels)
        targets = np.where(reached != split.labels, reached, self._runners_up(split))
        rows = np.flatnonzero(~through)
        images = np.array(crafted.images)
        if len(rows):
            again = self.rejecting.attack(attack, split.select(rows), targets[rows])
            images[rows] = again.images
        return dataclasses.replace(crafted, images=images)

    def _runners_up(self, split: Split) -> np.ndarray:
        logits = self.pipeline.ask(self.pipeline.model, split)
        logits[np.arange(len(split)), split.labels] = -np.inf
        return np.argmax(logits, axis=-1).astype(np.int32)


def evaluated_pipelines(pipeline: ModelRunner) -> list[EvaluatedPipeline]:
    """The defence; where it detects, with its detector and, beside that, without."""
    defense = pipeline.model.defense
    if not defense.detects:
        return [EvaluatedPipeline(defense.name, pipeline)]
    return [
        _DetectingColumn(defense.name, pipeline),
        EvaluatedPipeline(f"{defense.name}_without_detector", pipeline),
    ]
