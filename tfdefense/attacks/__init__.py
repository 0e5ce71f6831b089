"""Attacks. A new one is one file here and one line in `ATTACKS`."""

import dataclasses
import difflib
from typing import Any

from tfdefense.attacks.apgd import APGDCE, APGDDLR, APGDT
from tfdefense.attacks.auto_attack import AutoAttack, StrongestOf, strongest
from tfdefense.attacks.base import Attack, AttackResult
from tfdefense.attacks.bim import BIM
from tfdefense.attacks.bpda import bpda
from tfdefense.attacks.carlini_wagner import CarliniWagnerL2
from tfdefense.attacks.deepfool import DeepFool
from tfdefense.attacks.expectation import Expectation
from tfdefense.attacks.fab import FABT
from tfdefense.attacks.fgsm import FGSM, FGSMPredicted
from tfdefense.attacks.jsma import JSMA
from tfdefense.attacks.mim import MIM
from tfdefense.attacks.pgd import PGD
from tfdefense.attacks.square import Square
from tfdefense.errors import require
from tfdefense.registry import Registry

ATTACKS = Registry(
    "attack",
    {
        "apgd_ce": "tfdefense.attacks.apgd:APGDCE",
        "apgd_dlr": "tfdefense.attacks.apgd:APGDDLR",
        "apgd_t": "tfdefense.attacks.apgd:APGDT",
        "auto_attack": "tfdefense.attacks.auto_attack:AutoAttack",
        "bim": "tfdefense.attacks.bim:BIM",
        "cw": "tfdefense.attacks.carlini_wagner:CarliniWagnerL2",
        "deepfool": "tfdefense.attacks.deepfool:DeepFool",
        "fab_t": "tfdefense.attacks.fab:FABT",
        "fgsm": "tfdefense.attacks.fgsm:FGSM",
        "fgsm_predicted": "tfdefense.attacks.fgsm:FGSMPredicted",
        "jsma": "tfdefense.attacks.jsma:JSMA",
        "mim": "tfdefense.attacks.mim:MIM",
        "pgd": "tfdefense.attacks.pgd:PGD",
        "square": "tfdefense.attacks.square:Square",
    },
)


def default_epsilon(image_shape: tuple[int, int, int], norm: str = "linf") -> float:
    """The usual radius, for grey images (MNIST) and colour (CIFAR-10): 0.3 and 8/255, in "l2" 1.5 and 0.5."""
    grey, colour = (0.3, 8 / 255) if norm == "linf" else (1.5, 0.5)
    return grey if image_shape[-1] == 1 else colour


def is_bounded(name: str) -> bool:
    """Whether the registered attack `name` takes an epsilon."""
    return any(field.name == "epsilon" for field in dataclasses.fields(ATTACKS.get(name)))


def make(name: str, **hyperparameters: Any) -> Attack:
    """The registered attack `name` with these hyperparameters in place of its defaults.

    Raises:
      UserError: unknown name or hyperparameter, or one out of range.
    """
    attack = ATTACKS.get(name)
    known = [field.name for field in dataclasses.fields(attack)]
    for given in hyperparameters:
        nearest = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        require(given in known, f"{name}: has no {given!r}.{hint} It has: {', '.join(known)}.")
    return attack(**hyperparameters)


__all__ = [
    "APGDCE",
    "APGDDLR",
    "APGDT",
    "ATTACKS",
    "BIM",
    "FABT",
    "FGSM",
    "JSMA",
    "MIM",
    "PGD",
    "Attack",
    "AttackResult",
    "AutoAttack",
    "CarliniWagnerL2",
    "DeepFool",
    "Expectation",
    "FGSMPredicted",
    "Square",
    "StrongestOf",
    "bpda",
    "default_epsilon",
    "is_bounded",
    "make",
    "strongest",
]
