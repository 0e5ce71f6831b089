"""Section of a model card on the output `suspicion`."""

from tfdefense.defenses.core.suspicion import SuspicionScale


def suspicion_section(scale: SuspicionScale | None) -> list[str]:
    """Return the lines of the section.

    Args:
      scale: scale of the output; None if the model has no such output.
    """
    lines = ["## Suspicion", ""]
    if scale is None:
        return [
            *lines,
            "The model has no output `suspicion`: there were no validation images at export, or its purifier changes"
            " nothing and it has no detector.",
            "",
        ]
    measure = "purifying changed less (`perturbation_norm`)"
    if scale.scores is not None:
        measure += (
            " or the detector scored lower, whichever share is larger, ranked again among them"
        )
    return [
        *lines,
        f"`suspicion` is the share of {len(scale):,} {scale.images} that {measure}. It is a multiple of 1/{len(scale)},"
        " calibrated at export with the defence in float32.",
        "",
        "- An alarm at 0.99 or more marks about 1% of clean images like these; of other images, such as those of"
        " another camera, it may mark more.",
        "- It is not the probability of an attack, and a low value is no proof of a clean image: an attacker who knows"
        " the model can keep the change small.",
        "",
    ]
