"""The checks of one report: which ones, how large, how long, and their results."""

import dataclasses
import time
from collections.abc import Sequence, Set
from typing import Any

import numpy as np

from tfdefense.data.core.dataset import Split
from tfdefense.evaluation.checks.attacked_models import AttackedModels
from tfdefense.evaluation.checks.check import Check, CheckEvidence, CheckResult
from tfdefense.evaluation.checks.diagnostics import Diagnostics
from tfdefense.evaluation.checks.epsilon_curve import AccuracyCurve, curve_radii
from tfdefense.evaluation.checks.fitted_sizes import (
    ProbePlan,
    allowed_seconds,
    fit_sizes,
)
from tfdefense.evaluation.checks.probe_progress import ProbeProgress
from tfdefense.evaluation.checks.registry import ALL, FAST, run_checks, select_checks
from tfdefense.evaluation.checks.settings import CheckSettings
from tfdefense.evaluation.checks.sizes import PROBES, CheckSizes, count_passes
from tfdefense.evaluation.checks.suspicion_probe import SuspicionProbe
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import ResultKey
from tfdefense.evaluation.suspicion_findings import SuspicionFinding, measure_suspicion


@dataclasses.dataclass(frozen=True)
class CheckSubject:
    """Object of the checks of a report.

    Attributes:
      measurements: rows and per-image results of the report.
      models: classifier and defended pipeline.
      split: white-box images.
      epsilon: L-infinity radius.
      withstood: see `Diagnostics`.
      pipeline_names: see `CheckEvidence`.
      suspicion: probe of the output `suspicion`; None leaves it out.
    """

    measurements: Measurements
    models: AttackedModels
    split: Split
    epsilon: float
    withstood: np.ndarray | None
    pipeline_names: tuple[str, ...]
    suspicion: SuspicionProbe | None = None

    @property
    def standing(self) -> np.ndarray:
        """Images that withstand the attacks as far as is known before any check, bool [>= n]."""
        return np.ones(len(self.split), bool) if self.withstood is None else self.withstood


@dataclasses.dataclass(frozen=True)
class CheckOutcome:
    """Results of the checks of a report.

    Attributes:
      results: one per check.
      curve: accuracy over epsilon with the keys "n", "steps" and "classes"; empty without it.
      effort: what `report.json` stores as "check_effort": see `Report`; empty without checks.
      suspicion: quality of the output `suspicion`; empty without it.
    """

    results: tuple[CheckResult, ...] = ()
    curve: dict[str, Any] = dataclasses.field(default_factory=dict)
    effort: dict[str, Any] = dataclasses.field(default_factory=dict)
    suspicion: tuple[SuspicionFinding, ...] = ()


def run_report_checks(subject: CheckSubject, settings: CheckSettings) -> CheckOutcome:
    """Run the checks of a report, with one progress bar over all of them."""
    checks = select_checks(settings.names)
    if not checks:
        return CheckOutcome()
    start = time.monotonic()
    attack_seconds = sum(row.seconds for row in subject.measurements.rows)
    probe = subject.suspicion if {ALL, FAST} & set(settings.names) else None
    scale = probe.scale if probe is not None else None
    extra = {"curve", "suspicion"} if scale is not None else {"curve"}
    needed = [each for each in checks if subject.withstood is not None or not each.counts_missed]
    probes = _probes_of(needed, extra if ALL in settings.names else set())
    if subject.withstood is None:  # See `probe_square`.
        probes = [each for each in probes if each != "square"]
    largest = _largest_sizes(subject, settings, probes)
    is_fixed = settings.images is not None or subject.measurements.defense.budget.fixed_checks
    sizes = largest
    if probes and not is_fixed:
        gradient_seconds = _undefended_gradient_seconds(subject.measurements)
        spent = time.monotonic() - start
        plan = ProbePlan(probes, subject.standing, attack_seconds, gradient_seconds, spent)
        sizes = fit_sizes(largest, subject.models, subject.split, plan)
    split = subject.split.take(sizes.images)
    diagnostics = Diagnostics(subject.models, split, subject.epsilon, sizes, subject.withstood)
    if not is_fixed:
        diagnostics.deadline = start + allowed_seconds(attack_seconds)
    diagnostics.progress = ProbeProgress(
        f"checks on {subject.models.pipeline.model.name}",
        {probe: count_passes([probe], sizes, subject.standing).weight for probe in probes},
    )
    evidence = CheckEvidence(subject.measurements, diagnostics, subject.pipeline_names)
    results = run_checks(checks, evidence)
    suspicion: tuple[SuspicionFinding, ...] = ()
    if probe is not None and scale is not None:
        cautious = None
        if "suspicion" in probes:
            with diagnostics.progress.probe("suspicion"):
                cautious = probe.attack(split, subject.epsilon, sizes.steps)
        name = subject.pipeline_names[0]
        suspicion = measure_suspicion(subject.measurements, name, scale, cautious)
    curve: AccuracyCurve = diagnostics.epsilon_curve  # Last, in what time is left.
    diagnostics.progress.close()
    seconds = time.monotonic() - start
    effort = {
        "checks": [check.key for check in checks],
        "probes": [name for name in PROBES if name in diagnostics.progress.begun],
        **dataclasses.asdict(sizes) | {"curve": bool(curve)},
        "queries": sizes.queries,
        "epsilon": subject.epsilon,
        "adapted": sizes != largest or _is_cut(curve, subject.epsilon, largest),
        "seconds": round(seconds, 3),
        "report_seconds": round(attack_seconds + seconds, 3),
    }
    facts = {"n": diagnostics.n, "steps": sizes.steps, "classes": diagnostics.num_classes}
    return CheckOutcome(results, {**facts, **curve} if curve else {}, effort, suspicion)


def _probes_of(checks: Sequence[Check], extra: Set[str]) -> list[str]:
    """Return the probes that checks need, and `extra` ones, in the order of `PROBES`."""
    needed = {probe for check in checks for probe in check.probes}
    return [name for name in PROBES if name in needed | extra]


def _largest_sizes(
    subject: CheckSubject, settings: CheckSettings, probes: Sequence[str]
) -> CheckSizes:
    """Return the sizes that the budget of the defence and the settings say."""
    budget = subject.measurements.defense.budget
    images = settings.images or min(budget.check_images, len(subject.split))
    return CheckSizes(
        images, budget.check_steps, budget.random_perturbations, curve="curve" in probes
    )


def _undefended_gradient_seconds(measurements: Measurements) -> float | None:
    """Return the time of one gradient in the attack with most of them; its compilation counts."""
    most, seconds = 0, 0.0
    for row in measurements.rows:
        if row.threat_model == "transfer":  # Its gradients are those of another classifier.
            continue
        key = ResultKey(row.defense, row.attack, row.threat_model)
        results = measurements.per_image.get(str(key))
        if row.defense == "none" and results is not None and results.gradients is not None:
            count = int(results.gradients.sum())
            if count > most:
                most, seconds = count, row.seconds
    return seconds / most if most else None


def _is_cut(curve: AccuracyCurve, epsilon: float, largest: CheckSizes) -> bool:
    """Return whether there was no time for every radius of the accuracy curve."""
    return largest.curve and curve.get("epsilon") != curve_radii(epsilon)
