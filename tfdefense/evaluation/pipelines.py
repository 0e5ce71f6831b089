"""Pipelines that a report shows: the defence with its detector, if it has one, and without."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfdefense.attacks import Attack, Expectation
from tfdefense.attacks.core.expectation import restart_draws
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import DefendedClassifier
from tfdefense.defenses.core.rejecting_classifier import RejectingClassifier
from tfdefense.evaluation.attack_time import PlannedAttack
from tfdefense.evaluation.attacked_images import AttackedImages
from tfdefense.evaluation.per_image_results import REFUSED, PerImageResults
from tfdefense.evaluation.runner import ModelRunner, RunnableModel


class EvaluatedPipeline:
    """A pipeline under a name in the report, without a detector.

    Attributes:
      name: value of `defense` in the rows of the report.
      runner: runs the purifier and the classifier.
    """

    def __init__(self, name: str, runner: ModelRunner[RunnableModel]) -> None:
        self.name = name
        self.runner = runner

    def apply_detector(self, split: Split, results: PerImageResults) -> PerImageResults:
        """Return the results of the pipeline on `split` with the decisions of the detector."""
        del split
        return results

    def evade_detector(
        self, attack: Attack, clean: Split, attacked: AttackedImages
    ) -> AttackedImages:
        """Return adversarial images that also evade the detector, if there is one.

        Args:
          attack: the attack that made `attacked` from `clean`.
          clean: clean images.
          attacked: the images after the attack on purifier and classifier.
        """
        del attack, clean
        return attacked


class DetectingPipeline(EvaluatedPipeline):
    """A pipeline with a detector in front, which refuses images.

    Args:
      name: see `EvaluatedPipeline`.
      runner: runs the purifier and the classifier.
      eot_draws: draws that attacks on the detector average over; None for a deterministic pipeline.
    """

    def __init__(
        self, name: str, runner: ModelRunner[DefendedClassifier], eot_draws: int | None = None
    ) -> None:
        super().__init__(name, runner)
        self._defended = runner
        rejecting: RunnableModel = RejectingClassifier(runner.model)
        if eot_draws is not None:
            rejecting = Expectation(rejecting, eot_draws)
        self._rejecting = ModelRunner(rejecting, runner.batch_size)

    def apply_detector(self, split: Split, results: PerImageResults) -> PerImageResults:
        excess = self._defended.run_batches(self._defended.model.defense.detector_score, split)
        predicted = np.where(excess > 0, REFUSED, results.predicted)
        return dataclasses.replace(results, predicted=predicted, excess=excess)

    def evade_detector(
        self, attack: Attack, clean: Split, attacked: AttackedImages
    ) -> AttackedImages:
        """Attack detector and classifier at once where `attacked` is refused or does not fool.

        The attack aims at the class that `attacked` reached, or else at the most likely wrong class. An
        attack that takes no targets is replaced by its targeted variant.
        """
        targeted = attack.targeted_variant(clean.num_classes + 1)  # One more class means "refused".
        assert targeted is not None, "the evaluation checks this before it attacks"
        # The draws of a randomised defence would depend on whether `attacked` was computed or stored.
        restart_draws(self.runner.model)
        results = self.runner.measure(attacked, clean)
        reached, decided = results.predicted, self.apply_detector(attacked, results).predicted
        evaded = (decided != REFUSED) & (decided != clean.labels)
        restart_draws(self.runner.model)
        likeliest = self._defended.likeliest_wrong_classes(clean)
        targets = np.where(reached != clean.labels, reached, likeliest)
        rows = np.flatnonzero(~evaded)
        if not len(rows):
            return attacked
        again = self._rejecting.attack(targeted, clean.select(rows), targets[rows])
        return attacked.attacked_again(rows, again)


def evaluated_pipelines(
    runner: ModelRunner[DefendedClassifier], eot_draws: int | None = None
) -> list[EvaluatedPipeline]:
    """Return the pipelines of a defence: itself, and with a detector also without it.

    Args:
      runner: runs the defence.
      eot_draws: see `DetectingPipeline`.
    """
    defense = runner.model.defense
    if not defense.detects:
        return [EvaluatedPipeline(defense.name, runner)]
    return [
        DetectingPipeline(defense.name, runner, eot_draws),
        EvaluatedPipeline(name_without_detector(defense.name), runner),
    ]


def plan_pipelines(
    planned: PlannedAttack, pipelines: Sequence[EvaluatedPipeline]
) -> list[PlannedAttack]:
    """Return the attacks on all pipelines of a defence, of which that on the detector is not stored."""
    targeted = planned.attack.targeted_variant(planned.split.num_classes + 1) or planned.attack
    evading = planned._replace(attack=targeted, of=planned.attack, count_missing=None)
    return [planned, *(len(pipelines) - 1) * [evading]]


def name_without_detector(defense: str) -> str:
    """Return the name of a detecting defence's pipeline without the detector."""
    return f"{defense}_without_detector"
