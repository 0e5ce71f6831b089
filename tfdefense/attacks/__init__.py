"""Attacks on image classifiers, one per file.

A new attack is one file here and one line in `registry.py`.
"""

from typing import Any

from tfdefense.attacks.apgd import APGDCE, APGDDLR, APGDT
from tfdefense.attacks.auto_attack import AutoAttack
from tfdefense.attacks.bim import BIM
from tfdefense.attacks.carlini_wagner import CarliniWagnerL2
from tfdefense.attacks.core.attack import Attack
from tfdefense.attacks.core.attack_result import AttackResult
from tfdefense.attacks.core.bpda import bpda
from tfdefense.attacks.core.each_surrogate import find_surrogates
from tfdefense.attacks.core.expectation import Expectation
from tfdefense.attacks.core.norms import default_epsilon
from tfdefense.attacks.core.spec import is_bounded, make_attack
from tfdefense.attacks.deepfool import DeepFool
from tfdefense.attacks.fab import FABT
from tfdefense.attacks.fgsm import FGSM, FGSMPredicted
from tfdefense.attacks.hop_skip_jump import HopSkipJump
from tfdefense.attacks.jsma import JSMA
from tfdefense.attacks.mim import MIM
from tfdefense.attacks.pgd import PGD
from tfdefense.attacks.registry import ATTACKS
from tfdefense.attacks.square import Square
from tfdefense.attacks.strongest_of import StrongestOf, enable_stop_at_success
from tfdefense.networks.surrogates import use_surrogates

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
    "HopSkipJump",
    "Square",
    "StrongestOf",
    "bpda",
    "default_epsilon",
    "enable_stop_at_success",
    "find_surrogates",
    "is_bounded",
    "make_attack",
    "use_surrogates",
]


def __getattr__(name: str) -> Any:
    """Import a registered class that is not above on first use."""
    return ATTACKS.get_attribute(name)
