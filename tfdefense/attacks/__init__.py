"""Attacks. A new one is one file here and one line in `ATTACKS`."""

from typing import Any

from tfdefense.attacks.base import Attack
from tfdefense.attacks.bim import BIM
from tfdefense.attacks.fgsm import FGSM, FGSMPredicted
from tfdefense.attacks.pgd import PGD
from tfdefense.registry import Registry

ATTACKS = Registry(
    "attack",
    {
        "bim": "tfdefense.attacks.bim:BIM",
        "fgsm": "tfdefense.attacks.fgsm:FGSM",
        "fgsm_predicted": "tfdefense.attacks.fgsm:FGSMPredicted",
        "pgd": "tfdefense.attacks.pgd:PGD",
    },
)


def make(name: str, **hyperparameters: Any) -> Attack:
    """The registered attack `name` with these hyperparameters in place of its defaults.

    Raises:
      UserError: unknown name, or a hyperparameter out of range.
    """
    return ATTACKS.get(name)(**hyperparameters)


__all__ = ["ATTACKS", "BIM", "FGSM", "PGD", "Attack", "FGSMPredicted", "make"]
