"""Check that no attack increases accuracy."""

from tfdefense.evaluation.checks.check import Check, CheckEvidence, not_checked
from tfdefense.evaluation.threat_models import THREAT_MODEL_TITLES
from tfdefense.utils.tables import format_percent


def _examine(evidence: CheckEvidence) -> tuple[bool, str]:
    measurements, defense = evidence.measurements, evidence.pipeline_names[0]
    if any(results.excess is not None for results in measurements.per_image.values()):
        return not_checked(
            "the defence has a detector, and a refused image counts as correct only if it"
            " is attacked."
        )
    clean, *attacked = (row for row in measurements.rows if row.defense == defense)
    # Rows that count only images that fooled the classifier have another clean accuracy.
    higher = [row for row in attacked if row.ci_low > max(clean.ci_high, row.clean_accuracy)]
    clean_share = format_percent(clean.accuracy)
    if not higher:
        return True, f"No attack raises accuracy above the {clean_share} on clean images."
    row = max(higher, key=lambda each: each.accuracy)
    return False, (
        f"Accuracy is {format_percent(row.accuracy)} under {row.attack}"
        f" ({THREAT_MODEL_TITLES[row.threat_model]}), but {clean_share} on clean images. The attack"
        " leaks the true label into the image, and the defence reads it."
    )


LABEL_LEAKING = Check(
    key="label_leaking",
    name="Attacks do not help the classifier",
    question="Is accuracy under an attack higher than on clean images?",
    source="Kurakin et al. 2017, Adversarial Machine Learning at Scale (label leaking)",
    rule="no attack has a 95 % interval of accuracy above that of clean images",
    examine=_examine,
)
