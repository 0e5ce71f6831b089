"""Threat models: what the attacker of a report knows. The attacks are made in `evaluator.py`."""

import dataclasses

from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.errors import require, unknown_name

THREAT_MODELS = ("grey_box", "white_box", "transfer", "black_box")
THREAT_MODEL_TITLES = {name: name.replace("_", " ") for name in THREAT_MODELS}


@dataclasses.dataclass(frozen=True)
class ThreatModels:
    """Threat models of an evaluation, with what they need.

    Attributes:
      names: some of `THREAT_MODELS`, with "white_box". "grey_box": the attack knows only the
        classifier, and its images are purified. "white_box": it knows classifier and defence.
        "transfer": it knows only `source`. "black_box": it only queries logits.
      source: another classifier of the same images, for "transfer".
      fooled_only: grey-box and transfer rows count only images that the undefended classifier
        classifies correctly before the attack and wrongly after it (Yu et al. 2020, section 5.2).

    Raises:
      UserError: an unknown threat model, no white box, or a transfer without a source.
    """

    names: tuple[str, ...] = ("grey_box", "white_box")
    source: FrozenClassifier | None = None
    fooled_only: bool = False

    def __post_init__(self) -> None:
        check_threat_models(self.names, has_source=self.source is not None)

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
