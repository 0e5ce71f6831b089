"""Check that randomness and loops at inference are attacked as they need to be."""

import numpy as np

from tfdefense.attacks import AutoAttack, HopSkipJump, Square
from tfdefense.evaluation.checks.check import Check, CheckEvidence
from tfdefense.evaluation.measurements import Measurements
from tfdefense.evaluation.per_image_results import ResultKey
from tfdefense.evaluation.threat_models import WHITE_BOX_EOT

# AutoAttack ends with Square, except in its version "rand".
_WITHOUT_GRADIENTS = (Square.name, HopSkipJump.name, AutoAttack.name)


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    measurements, graph = evidence.measurements, evidence.diagnostics.inference_graph
    defense, findings, warnings = measurements.defense, [], []
    if defense.is_randomized or graph.random:
        findings.append("draws random numbers")
        if not _attacks_in_expectation(measurements):
            warnings.append(
                "No attack of this report averages gradients over draws (EOT): that needs white_box"
                " among --threat_models, and a defence that is a `RandomizedDefense`."
            )
    if graph.loops:
        declared = evidence.diagnostics.has_declared_gradient
        gradients = (
            "whose gradient is declared (bpda)" if declared else "through which gradients flow"
        )
        findings.append(f"runs a loop at inference, {gradients}")
        if declared and not _attacks_without_gradients(measurements):
            warnings.append(
                "No attack of this report does without gradients. Add --threat_models=...,black_box."
            )
    if not findings:
        return True, f"{defense.name} neither draws random numbers nor runs a loop at inference."
    return not warnings, f"{defense.name} {' and '.join(findings)}. {' '.join(warnings)}".strip()


def _attacks_in_expectation(measurements: Measurements) -> bool:
    return any(row.threat_model == WHITE_BOX_EOT for row in measurements.rows)


def _attacks_without_gradients(measurements: Measurements) -> bool:
    keys = map(ResultKey.parse, measurements.per_image)
    attacks = [key for key in keys if key.defense != "none" and key.attack != "none"]
    return any(_does_without_gradients(measurements, key) for key in attacks)


def _does_without_gradients(measurements: Measurements, key: ResultKey) -> bool:
    if key.threat_model == "grey_box":  # The pipeline itself was not attacked.
        return False
    gradients = measurements.per_image[str(key)].gradients
    counts_none = gradients is not None and not np.any(gradients)
    name, *options = key.attack.split(":")
    return counts_none or (name in _WITHOUT_GRADIENTS and "version=rand" not in options)


TEST_TIME_PROCEDURES = Check(
    key="test_time_procedures",
    name="Test-time procedures are attacked",
    question="Does the pipeline draw random numbers or run a loop at inference, and how was that"
    " attacked?",
    source="Athalye et al. 2018, section 4; Tramèr et al. 2020; AutoAttack (Croce, Hein 2020), whose"
    " program asks for optimisation at inference",
    rule="random numbers are attacked in expectation over draws, and a loop with a declared gradient"
    " also by an attack without gradients",
    examine=_examine,
)
