"""Threat models: what the attacker of a report knows. The attacks are made in `evaluator.py`.

A randomised defence has three white-box attackers. One knows its random numbers ("white_box": they
are a function of image and seed). One averages gradients over draws, and a draw that it does not
know decides ("white_box_eot"). One submits the same images again, until a draw fails
("white_box_resubmitted"). The last two are not asked for: a randomised defence always has them.
"""

import dataclasses

from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.errors import require, unknown_name

THREAT_MODELS = ("grey_box", "white_box", "transfer", "black_box")
WHITE_BOX_EOT = "white_box_eot"
WHITE_BOX_RESUBMITTED = "white_box_resubmitted"
WHITE_BOXES = ("white_box", WHITE_BOX_EOT, WHITE_BOX_RESUBMITTED)
# Threat model of the worst-case row over all `WHITE_BOXES` of a randomised defence.
ANY_WHITE_BOX = "any_white_box"
# Threat models with a column in a report, in the order of the columns.
REPORTED_THREAT_MODELS = ("grey_box", *WHITE_BOXES, "transfer", "black_box")
THREAT_MODEL_TITLES = {
    **{name: name.replace("_", " ") for name in (*REPORTED_THREAT_MODELS, ANY_WHITE_BOX)},
    WHITE_BOX_EOT: "white box, EOT",
    WHITE_BOX_RESUBMITTED: "white box, resubmitted",
}
DEFAULT_EOT_DRAWS = 10
DEFAULT_RESUBMISSIONS = 10


@dataclasses.dataclass(frozen=True)
class ThreatModels:
    """Threat models of an evaluation, with what they need.

    Attributes:
      names: some of `THREAT_MODELS`, with "white_box". "grey_box": the attack knows only the
        classifier, and its images are purified. "white_box": it knows classifier and defence.
        "transfer": it knows only `source`. "black_box": it only queries logits or
        classes.
      source: another classifier of the same images, for "transfer".
      fooled_only: grey-box and transfer rows count only images that the undefended classifier
        classifies correctly before the attack and wrongly after it (Yu et al. 2020, section 5.2).
      eot_draws: draws in each mean gradient of "white_box_eot", at least 1.
      resubmissions: draws that an image must all withstand in "white_box_resubmitted", at least 1.

    Raises:
      UserError: an unknown threat model, no white box, a transfer without a source, or a number out
        of range.
    """

    names: tuple[str, ...] = ("grey_box", "white_box")
    source: FrozenClassifier | None = None
    fooled_only: bool = False
    eot_draws: int = DEFAULT_EOT_DRAWS
    resubmissions: int = DEFAULT_RESUBMISSIONS

    def __post_init__(self) -> None:
        check_threat_models(self.names, has_source=self.source is not None)
        check_draws(eot_draws=self.eot_draws, resubmissions=self.resubmissions)

    def __contains__(self, name: str) -> bool:
        return name in self.names


def check_threat_models(names: tuple[str, ...], *, has_source: bool) -> None:
    """Raise `UserError` for an unknown threat model, or a missing white box or source."""
    for name in names:
        if name not in THREAT_MODELS:
            raise unknown_name("--threat_models", name, THREAT_MODELS)
    require(
        "white_box" in names,
        f"--threat_models={','.join(names)}: white_box is needed too, because every other number is"
        " shown next to the white-box number.",
    )
    require(
        has_source or "transfer" not in names,
        "--threat_models=transfer: needs --source, the classifier that the attack knows.",
    )


def check_draws(**draws: int | None) -> None:
    """Raise `UserError` for a number of draws below 1, given by the name of its flag."""
    for name, number in draws.items():
        require(number is None or number >= 1, f"--{name}={number}: at least 1 is needed.")
