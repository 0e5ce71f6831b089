"""Probe of the output `suspicion`: its scale, and an attack that also keeps it low."""

import functools

from tfdefense.attacks import PGD
from tfdefense.attacks.core.spec import format_attack
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import DefendedClassifier
from tfdefense.defenses.core.suspicion import SuspicionScale, calibrate_suspicion
from tfdefense.evaluation.cautious_attack import attack_cautiously
from tfdefense.evaluation.pipelines import evaluated_pipelines
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.evaluation.suspicion_findings import CautiousResults


class SuspicionProbe:
    """Suspicion of a pipeline, calibrated as at export when it is first needed.

    Args:
      runner: runs the pipeline.
      validation: held-out clean images.
    """

    def __init__(self, runner: ModelRunner[DefendedClassifier], validation: Split) -> None:
        self._runner = runner
        self._validation = validation

    @functools.cached_property
    def scale(self) -> SuspicionScale | None:
        """Scale of the suspicion; None if an export would have none."""
        return calibrate_suspicion(self._runner.model, self._validation)

    def attack(self, split: Split, epsilon: float, steps: int) -> CautiousResults:
        """Return the results of a targeted PGD that also keeps suspicion low.

        Args:
          split: clean images.
          epsilon: L-infinity radius.
          steps: steps of PGD, whose total length is 4/3 epsilon.
        """
        assert self.scale is not None
        attack = PGD(epsilon=epsilon, steps=steps, relative_step_size=4 / 3 / steps)
        attacked = attack_cautiously(self._runner, self.scale, attack, split)
        results = self._runner.measure(attacked, split)
        # The first pipeline is the one with the detector, if there is one.
        results = evaluated_pipelines(self._runner)[0].apply_detector(attacked, results)
        return CautiousResults(format_attack(attack), results)
