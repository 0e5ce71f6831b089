"""Who attacks: the threat models of a report."""

import dataclasses
from typing import Any

from tfdefense.classifiers.core.frozen_classifier import FrozenClassifier
from tfdefense.errors import require, unknown_name

THREAT_MODELS = ("grey_box", "white_box", "transfer", "black_box")
THREAT_MODEL_TITLES = {name: name.replace("_", " ") for name in THREAT_MODELS}


@dataclasses.dataclass(frozen=True)
class ThreatModels:
    """Who attacks, besides everybody's white box.

    Attributes:
      models: of `THREAT_MODELS`. "grey_box": the attack sees the classifier alone, and its images are purified;
        "white_box": it sees all; "transfer": it sees `source` alone; "black_box": it asks for logits.
      source: for "transfer", another classifier of the same images.
      fooled_only: whether grey-box and transfer rows count only the images that the undefended classifier
        was right about, and is not after the attack (Yu et al. 2020, section 5.2).

    Raises:
      UserError: an unknown threat model, no white box, or no source where one is needed.
    """

    models: tuple[str, ...] = ("grey_box", "white_box")
    source: FrozenClassifier | None = None
    fooled_only: bool = False

    def __post_init__(self) -> None:
        check_threat_models(self.models, self.source is not None)

    def __contains__(self, name: Any) -> bool:
        return name in self.models


def check_threat_models(models: tuple[str, ...], has_source: bool) -> None:
    """Raises `UserError` for an unknown threat model, or where the white box or the source is left out."""
    for name in models:
        if name not in THREAT_MODELS:
            raise unknown_name("--threat_models", name, THREAT_MODELS)
    require(
        "white_box" in models,
        f"--threat_models={','.join(models)}: white_box is needed too; no other figure stands without it.",
    )
    require(
        has_source or "transfer" not in models,
        "--threat_models=transfer: needs a --source, the classifier that the attack sees.",
    )
