"""Evaluation of a defence: attacks under each threat model, then checks, then the report.

White-box attacks are made in `Evaluator._attack_pipeline`.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from tfdefense.attacks import Attack, enable_stop_at_success
from tfdefense.attacks.core.spec import format_attack
from tfdefense.data.core.dataset import Split
from tfdefense.defenses.core.defense import Defense
from tfdefense.defenses.core.evaluation_budget import EvaluationBudget
from tfdefense.defenses.core.randomized_defense import RandomizedDefense
from tfdefense.evaluation.attack_plan import (
    AttackPlan,
    attack_epsilon,
    attack_norm,
    bounded_attacks,
    largest_radius,
)
from tfdefense.evaluation.attack_time import PlannedAttack
from tfdefense.evaluation.attacked_images import AttackedImages
from tfdefense.evaluation.black_box import black_box_attacks
from tfdefense.evaluation.checks.attacked_models import AttackedModels
from tfdefense.evaluation.checks.run import CheckOutcome, CheckSubject, run_report_checks
from tfdefense.evaluation.checks.suspicion_probe import SuspicionProbe
from tfdefense.evaluation.detection import measure_detection
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import ResultKey
from tfdefense.evaluation.pipelines import EvaluatedPipeline, evaluated_pipelines, plan_pipelines
from tfdefense.evaluation.randomized_white_box import RandomizedWhiteBox
from tfdefense.evaluation.recovery import find_fooling_images, measure_recovery
from tfdefense.evaluation.report.report import Report
from tfdefense.evaluation.report.report_notes import report_fingerprints, report_notes
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.evaluation.stored_attacks import AttackedModel, attack_split, count_missing
from tfdefense.evaluation.surrogate_choice import surrogate_notes
from tfdefense.evaluation.surrogate_findings import measure_surrogates
from tfdefense.evaluation.unchanged_images import unchanged_image_notes
from tfdefense.networks.surrogates import use_surrogates

_MAX_QUERIES = 1_000


class Evaluator:
    """Evaluation of one defence, step by step.

    Args:
      defense: the defence.
      test: test images.
      plan: a completed attack plan.
    """

    def __init__(self, defense: Defense, test: Split, plan: AttackPlan) -> None:
        assert plan.attacks is not None
        assert plan.white_box_images is not None
        assert plan.eot_images is not None
        assert plan.epsilon is not None
        self.defense = defense
        self.test = test
        self.attacks = plan.attacks
        self.threat_models = plan.threat_models
        self.measurements = Measurements(defense, test)
        self._runs_dir = plan.runs_dir
        self._check_settings, self._validation = plan.checks, plan.validation
        self._surrogates, self._usual_epsilon = plan.surrogates, plan.epsilon
        self._white_box_test = test.take(plan.white_box_images)
        self._classifier = ModelRunner(defense.classifier)
        self._pipeline = ModelRunner(defense.defend(), defense.batch_size)
        self._undefended = EvaluatedPipeline("none", self._classifier)
        self._defended = evaluated_pipelines(self._pipeline)
        self._randomized: RandomizedWhiteBox | None = None
        if isinstance(defense, RandomizedDefense) and defense.is_randomized:
            few = test.take(plan.eot_images)
            self._randomized = RandomizedWhiteBox(defense, few, plan.threat_models, plan.runs_dir)

    def planned_attacks(self) -> list[PlannedAttack]:
        """Return the attacks that the evaluation will run; a detector has each of them twice."""
        planned = []
        for attack in self.attacks:
            white_box = enable_stop_at_success(attack)
            planned.append(self._plan(attack, self._classifier, self.test))
            planned += self._plan_on_pipelines(white_box)
            if self._randomized is not None:
                planned += self._randomized.planned_attacks(attack)
            if "transfer" in self.threat_models and self.threat_models.source is not None:
                source = ModelRunner(self.threat_models.source)
                planned.append(self._plan(attack, source, self.test))
        if "black_box" in self.threat_models:
            for attack in self._black_box_attacks():
                planned.append(self._plan(attack, self._classifier, self._white_box_test))
                planned += self._plan_on_pipelines(attack)
        return planned

    def _plan_on_pipelines(self, attack: Attack) -> list[PlannedAttack]:
        is_slow = self.defense.budget.white_box_images < EvaluationBudget().white_box_images
        planned = self._plan(attack, self._pipeline, self._white_box_test)
        return plan_pipelines(planned._replace(is_slow=is_slow), self._defended)

    def _plan(
        self, attack: Attack, runner: ModelRunner[AttackedModel], split: Split
    ) -> PlannedAttack:
        missing = functools.partial(count_missing, runner, attack, split, self._runs_dir)
        return PlannedAttack(attack, runner.model, split, missing)

    def evaluate_clean(self) -> None:
        """Add the rows of clean images."""
        for pipelines in ([self._undefended], self._defended):
            self._add(pipelines, ResultKey("none", "none", "none"), 0.0, self.test)

    def evaluate_attack(self, attack: Attack) -> None:
        """Add the rows of one attack: undefended, grey box, white box and transfer."""
        self._note_norm(attack)
        label, epsilon = format_attack(attack), attack_epsilon(attack)
        undefended = ResultKey("none", label, "white_box")  # The attack knows all that there is.
        attacked = self._attack(self._classifier, attack, self.test)
        self._add([self._undefended], undefended, epsilon, attacked)
        if "grey_box" in self.threat_models:
            grey_box = undefended._replace(threat_model="grey_box")
            self._add(self._defended, grey_box, epsilon, attacked, fooled_by="white_box")
        self._attack_pipeline(enable_stop_at_success(attack), undefended)
        if self._randomized is not None:
            self._randomized.evaluate_attack(attack, self.measurements)
        if "transfer" in self.threat_models and self.threat_models.source is not None:
            transfer = undefended._replace(threat_model="transfer")
            source = ModelRunner(self.threat_models.source)
            with use_surrogates():  # The requested ones are those of the pipeline.
                attacked = self._attack(source, attack, self.test)
            self._add([self._undefended], transfer, epsilon, attacked)
            self._add(self._defended, transfer, epsilon, attacked, fooled_by="transfer")

    def evaluate_black_box(self) -> None:
        """Add the rows of an attack that queries logits, and of one that queries classes."""
        for attack in self._black_box_attacks():
            self._note_norm(attack)
            key = ResultKey("none", format_attack(attack), "black_box")
            attacked = self._attack(self._classifier, attack, self._white_box_test)
            self._add([self._undefended], key, attack_epsilon(attack), attacked)
            self._attack_pipeline(attack, key)

    def report(self) -> Report:
        """Add the worst cases, run the checks and return the report."""
        measurements = self.measurements
        measurements.add_worst_cases()
        outcome = self._run_checks()
        per_image = measurements.per_image
        return Report(
            rows=tuple(measurements.rows),
            attacks=tuple(f"`{attack}`" for attack in self.attacks),
            checks=outcome.results,
            notes=(
                *report_notes(self.defense, self.test, self.attacks, self.threat_models),
                *surrogate_notes(self._surrogates, self.defense),
                *unchanged_image_notes(measurements),
                *measurements.notes,
            ),
            detections=measure_detection(per_image),
            recoveries=measure_recovery(per_image, self.test.labels, self.defense.name),
            curve=outcome.curve,
            check_effort=outcome.effort,
            suspicion=outcome.suspicion,
            surrogates=measure_surrogates(
                measurements,
                self._defended[-1].name,
                {format_attack(attack) for attack in self.attacks if attack.has_parts},
            ),
            fingerprints=report_fingerprints(self.defense, self.test, self.threat_models.source),
            largest_class=float(np.bincount(self.test.labels).max() / len(self.test)),
            labels=self.test.labels,
            per_image=per_image,
            worst_cases=measurements.worst_cases,
        )

    def _black_box_attacks(self) -> tuple[Attack, Attack]:
        queries = min(_MAX_QUERIES, self.defense.budget.random_perturbations)
        shape = self.test.image_shape
        return black_box_attacks(self.attacks, shape, queries, self._usual_epsilon)

    def _note_norm(self, attack: Attack) -> None:
        norm = attack_norm(attack)
        if norm is not None:
            self.measurements.norms[format_attack(attack)] = norm

    def _run_checks(self) -> CheckOutcome:
        """Check the report on purifier and classifier; a detector has no part in it."""
        names = tuple(pipeline.name for pipeline in self._defended)
        labels = [format_attack(attack) for attack in bounded_attacks(self.attacks, "linf")]
        withstood = None
        if labels:
            withstood = self.measurements.withstood(names[-1], "white_box", labels)
        models = AttackedModels(self._classifier, self._pipeline)
        test, epsilon, images = self._white_box_test, self._epsilon(), self._validation
        suspicion = None if images is None else SuspicionProbe(self._pipeline, images)
        subject = CheckSubject(
            self.measurements, models, test, epsilon, withstood, names, suspicion
        )
        return run_report_checks(subject, self._check_settings)

    def _attack(
        self, runner: ModelRunner[AttackedModel], attack: Attack, split: Split
    ) -> AttackedImages:
        attacked, saved_seconds = attack_split(runner, attack, split, self._runs_dir)
        self.measurements.add_seconds(saved_seconds)
        return attacked

    def _attack_pipeline(self, attack: Attack, key: ResultKey) -> None:
        """Attack purifier and classifier together (white box, black box), and add the rows."""
        attacked = self._attack(self._pipeline, attack, self._white_box_test)
        for pipeline in self._defended:
            evading = pipeline.evade_detector(attack, self._white_box_test, attacked)
            self._add([pipeline], key, attack_epsilon(attack), evading)

    def _add(
        self,
        pipelines: Sequence[EvaluatedPipeline],
        key: ResultKey,
        epsilon: float | None,
        split: Split,
        *,
        fooled_by: str | None = None,
    ) -> None:
        """Measure images on pipelines that share purifier and classifier, and add a row for each.

        Args:
          pipelines: the defence with and without its detector, or the undefended classifier.
          key: attack and threat model.
          epsilon: radius of the attack.
          split: clean or attacked images.
          fooled_by: threat model of the row whose images must have fooled the undefended classifier
            if `fooled_only` is set; None counts all images.
        """
        runner = pipelines[0].runner
        title = f"{'clean' if key.attack == 'none' else key.attack}, {runner.model.name}"
        results = runner.measure(split, self.test, title)
        if fooled_by is not None and self.threat_models.fooled_only:
            fooled = find_fooling_images(
                self.measurements.per_image, self.test.labels, key.attack, fooled_by
            )
            results = dataclasses.replace(results, counted=fooled)
        for pipeline in pipelines:
            self.measurements.add(
                key._replace(defense=pipeline.name),
                epsilon,
                pipeline.apply_detector(split, results),
            )

    def _epsilon(self) -> float:
        """Return the largest L-infinity radius of the attacks, or else that of the plan."""
        radius = largest_radius(self.attacks, "linf")
        return self._usual_epsilon if radius is None else radius
