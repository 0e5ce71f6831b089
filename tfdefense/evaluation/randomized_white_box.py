"""White-box attackers of a randomised defence who do not know its random numbers.

Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section
4.2: gradients are averaged over draws (EOT). The images are then judged by draws that the attacker
did not see: by the first one ("white_box_eot"), and by the first N ("white_box_resubmitted"), which
is what an attacker finds who submits the same image N times.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from tfdefense.attacks import Attack, AutoAttack, Expectation
from tfdefense.attacks.core import per_image_random
from tfdefense.attacks.core.spec import format_attack
from tfdefense.attacks.strongest_of import set_stop_at_success
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.core.randomized_defense import RandomizedDefense
from tfdefense.evaluation.attack_plan import attack_epsilon
from tfdefense.evaluation.attack_time import PlannedAttack
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import REFUSED, PerImageResults, ResultKey
from tfdefense.evaluation.pipelines import EvaluatedPipeline, evaluated_pipelines, plan_pipelines
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.evaluation.stored_attacks import attack_split, count_missing
from tfdefense.evaluation.threat_models import WHITE_BOX_EOT, WHITE_BOX_RESUBMITTED, ThreatModels

_ATTACKER, _JUDGE = 0, 1  # Streams of draws.


class RandomizedWhiteBox:
    """EOT attacks on a randomised defence, and their rows.

    Args:
      defense: the defence.
      test: the images to attack.
      threat_models: numbers of draws.
      runs_dir: directory whose `attacks/` stores the adversarial images; None stores nothing.
    """

    def __init__(
        self,
        defense: RandomizedDefense,
        test: Split,
        threat_models: ThreatModels,
        runs_dir: str | Path | None = None,
    ) -> None:
        self._test = test
        self._runs_dir = runs_dir
        self._is_slow = defense.budget.eot_images < EvaluationBudget().eot_images
        self._resubmissions = threat_models.resubmissions
        redrawing = ModelRunner(
            defense.defend_with_fresh_randomness(stream=_ATTACKER), defense.batch_size
        )
        draws = threat_models.eot_draws
        self._attacked = ModelRunner(Expectation(redrawing.model, draws), defense.batch_size)
        self._pipelines = evaluated_pipelines(redrawing, eot_draws=draws)

    def planned_attacks(self, attack: Attack) -> list[PlannedAttack]:
        """Return the attacks that `evaluate_attack` will run; resubmissions cost little."""
        attack = attack_beyond_success(attack)
        missing = functools.partial(
            count_missing, self._attacked, attack, self._test, self._runs_dir
        )
        model = self._attacked.model
        planned = PlannedAttack(attack, model, self._test, missing, self._is_slow)
        return plan_pipelines(planned, self._pipelines)

    def evaluate_attack(self, attack: Attack, measurements: Measurements) -> None:
        """Attack purifier and classifier together, and add two rows per pipeline.

        Images are attacked beyond the first success where the attack allows it: one on the border of a
        class fools the mean of some draws, but only half of the others.
        """
        label, epsilon = format_attack(attack), attack_epsilon(attack)
        attack = attack_beyond_success(attack)
        attacked, saved_seconds = attack_split(self._attacked, attack, self._test, self._runs_dir)
        measurements.add_seconds(saved_seconds)
        for pipeline in self._pipelines:
            key = ResultKey(pipeline.name, label, WHITE_BOX_EOT)
            evading = pipeline.evade_detector(attack, self._test, attacked)
            first = self._measure_draw(pipeline, evading, self._test, 0)
            measurements.add(key, epsilon, first)
            worst = self._resubmit(pipeline, evading, first)
            measurements.add(key._replace(threat_model=WHITE_BOX_RESUBMITTED), epsilon, worst)

    def _resubmit(
        self, pipeline: EvaluatedPipeline, attacked: Split, first: PerImageResults
    ) -> PerImageResults:
        """Return the results of the first draw that fails on each image, or else of the last one."""
        worst = first
        for draw in range(1, self._resubmissions):
            rows = np.flatnonzero(~_is_fooled(worst, self._test))
            if not len(rows):
                break
            clean = self._test.select(rows)
            results = self._measure_draw(pipeline, attacked.select(rows), clean, draw)
            worst = _replace_verdicts(worst, rows, results)
        return worst

    def _measure_draw(
        self, pipeline: EvaluatedPipeline, split: Split, clean: Split, draw: int
    ) -> PerImageResults:
        judged_by = per_image_random.draw_in_stream(_JUDGE, draw).numpy()
        results = pipeline.runner.measure(split, clean, draw=judged_by)
        return pipeline.apply_detector(split, results)


def attack_beyond_success(attack: Attack) -> Attack:
    """Return an attack that goes on after its first success, if it can; for AutoAttack, version "rand".

    Square, FAB and HopSkipJump always stop there.
    """
    if isinstance(attack, AutoAttack):
        return dataclasses.replace(attack, version="rand")
    return set_stop_at_success(attack, value=False)


def _is_fooled(results: PerImageResults, split: Split) -> np.ndarray:
    """Return bool [n]: images that get a wrong class and are not refused."""
    return (results.predicted != split.labels) & (results.predicted != REFUSED)


def _replace_verdicts(
    results: PerImageResults, rows: np.ndarray, verdicts: PerImageResults
) -> PerImageResults:
    """Return `results` with what the pipeline made of the images `rows` in `verdicts`."""
    changes: dict[str, Any] = {}
    for name in ("predicted", "left", "change", "disagreement", "excess"):
        array = getattr(results, name)
        if array is not None:
            changes[name] = array.copy()
            changes[name][rows] = getattr(verdicts, name)
    return dataclasses.replace(results, **changes)
