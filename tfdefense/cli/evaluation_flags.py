"""Flags of an evaluation, and the `EvaluationConfig` that they describe."""

import dataclasses

from tfdefense.attacks import ATTACKS
from tfdefense.cli.flags import CommandFlags, FlagValues
from tfdefense.errors import require
from tfdefense.evaluation.attack_time import DEFAULT_MAX_HOURS, require_hours
from tfdefense.evaluation.checks.registry import CHECKS
from tfdefense.evaluation.protocol import ALL_IMAGES, EvaluationConfig
from tfdefense.evaluation.threat_models import (
    DEFAULT_EOT_DRAWS,
    DEFAULT_RESUBMISSIONS,
    THREAT_MODELS,
)


def add_evaluation_flags(flags: CommandFlags) -> None:
    """Define the flags that say how a defence is evaluated."""
    group = "evaluation"
    flags.add(
        group,
        "attacks",
        list,
        f"Some of {', '.join(ATTACKS.names())}, separated by commas, each with its hyperparameters"
        " after colons if they are not the defaults: cw:targets=random:confidence=1. Attacks of other"
        " libraries are art:NAME, cleverhans:NAME and foolbox:NAME (default: fgsm,"
        " fgsm_predicted, bim, pgd:steps=10:relative_step_size=0.25, apgd_ce:steps=25 and, from"
        " three classes, apgd_dlr:steps=25).",
    )
    flags.add(
        group,
        "epsilon",
        float,
        "Radius of the attacks, in [0, 1] (default: 0.3 for grey images, 8/255 for colour; with norm=l2"
        " 1.5 and 0.5).",
    )
    flags.add(
        group,
        "images",
        str,
        "Number of test images for clean, grey-box and transfer rows, or all (default: all; 200 for"
        " defense_gan).",
    )
    flags.add(
        group,
        "white_box_images",
        int,
        "Largest number of test images for white-box and black-box rows (default: 1000; 100 for"
        " denoised_smoothing and 20 for defense_gan; in the EOT and resubmitted columns of a randomised"
        " defence 200, and 20 for denoised_smoothing).",
    )
    flags.add(
        group,
        "threat_models",
        list,
        f"Some of {', '.join(THREAT_MODELS)}, separated by commas (default: grey_box,white_box).",
    )
    flags.add(
        group,
        "source",
        str,
        "Classifier that transfer attacks attack: any value that --classifier takes. A custom model takes"
        " images in [0, 1] here.",
    )
    flags.add(
        group,
        "fooled_only",
        bool,
        "Count only images that fooled the classifier in grey-box and transfer rows, as Yu et al. 2020"
        " do.",
    )
    flags.add(
        group,
        "eot_draws",
        int,
        "Draws in each mean gradient of the EOT column of a randomised defence (default:"
        f" {DEFAULT_EOT_DRAWS}).",
    )
    flags.add(
        group,
        "resubmissions",
        int,
        "Draws that judge each image in the resubmitted column of a randomised defence (default:"
        f" {DEFAULT_RESUBMISSIONS}).",
    )
    flags.add(
        group,
        "checks",
        list,
        "Checks of the report: all, fast (those that need no more than one run of PGD), none, or some"
        f" of {', '.join(check.key for check in CHECKS)}, separated by commas (default: all).",
    )
    flags.add(
        group,
        "check_images",
        int,
        "Number of test images of the checks, whatever time they take (default: 100; 20 for"
        " denoised_smoothing and 2 for defense_gan; fewer if the checks would take more than a third of"
        " the time of the report).",
    )
    flags.add(
        group,
        "surrogates",
        list,
        "Surrogate gradients of the defence that white-box attacks try, separated by commas: all, or"
        " some that it declares, such as true,leaky,softplus_0.3,softplus_1 of robust_purifier with"
        " thresholds (default: all).",
    )
    add_max_hours_flag(flags, group)


def pop_max_hours(given: FlagValues) -> float:
    """Remove the flag of `add_max_hours_flag` from `given` and return its value or default.

    Raises:
      UserError: not a number above 0.
    """
    max_hours: float = given.pop("max_hours", DEFAULT_MAX_HOURS)
    require_hours(max_hours)
    return max_hours


def add_max_hours_flag(flags: CommandFlags, group: str) -> None:
    """Define the limit of the estimated time of attacks."""
    flags.add(
        group,
        "max_hours",
        float,
        "Longest time in hours that the attacks may take by an estimate before they begin, from the"
        f" largest number of gradients and queries of each (default: {DEFAULT_MAX_HOURS:g}).",
    )


def evaluation_from_flags(given: FlagValues) -> EvaluationConfig | None:
    """Remove the flags of `add_evaluation_flags` from `given`; return None if it has none.

    Raises:
      UserError: an unknown name, or a number out of range.
    """
    names = [field.name for field in dataclasses.fields(EvaluationConfig)]
    settings = {name: given.pop(name) for name in names if name in given}
    for name in ("attacks", "threat_models", "checks", "surrogates"):
        if name in settings:
            settings[name] = tuple(settings[name])
    images = settings.get("images", ALL_IMAGES)
    if images != ALL_IMAGES:
        require(
            images.isascii() and images.removeprefix("-").isdecimal() and len(images) < 19,
            f"--images={images}: a number or {ALL_IMAGES} is needed.",
        )
        settings["images"] = int(images)
    return EvaluationConfig(**settings) if settings else None
