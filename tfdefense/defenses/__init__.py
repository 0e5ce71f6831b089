"""Defences. A new one is one file here and one line in `DEFENSES`."""

from collections.abc import Sequence
from typing import Any

from tfdefense.registry import Registry

DEFENSES = Registry(
    "defense",
    {
        "adversarial_training": "tfdefense.defenses.adversarial_training:AdversarialTraining",
        "apegan": "tfdefense.defenses.ape_gan:APEGAN",
        "apeganpp": "tfdefense.defenses.ape_gan_pp:APEGANPlusPlus",
        "bit_depth": "tfdefense.defenses.bit_depth:BitDepth",
        "cgan": "tfdefense.defenses.cgan:ConditionalGAN",
        "defense_gan": "tfdefense.defenses.defense_gan:DefenseGAN",
        "denoised_smoothing": "tfdefense.defenses.denoised_smoothing:DenoisedSmoothing",
        "magnet": "tfdefense.defenses.magnet:MagNet",
        "robust_purifier": "tfdefense.defenses.robust_purifier:RobustPurifier",
        "spatial_smoothing": "tfdefense.defenses.spatial_smoothing:SpatialSmoothing",
        "total_variation": "tfdefense.defenses.total_variation:TotalVariation",
    },
)


def named(name: str) -> type:
    """The class of the registered defence `name`; of "a+b", that of a and then b.

    Raises:
      UserError: unknown name, or defences that do not go together.
    """
    from tfdefense.defenses.composition import composition

    return composition(name) if "+" in name else DEFENSES.get(name)


def compose(defenses: Sequence[Any]) -> Any:
    """Defences, each trained already where it learns, as one (a `Composition`) that applies them in order.

    Raises:
      UserError: they do not go together.
    """
    from tfdefense.defenses.composition import Composition

    return Composition(defenses)


def __getattr__(name: str) -> Any:
    """`tfdefense.defenses.APEGANPlusPlus` and every other registered class, imported when used."""
    for entry, target in DEFENSES.entries.items():
        if target.endswith(f":{name}"):
            return DEFENSES.get(entry)
    raise AttributeError(f"module 'tfdefense.defenses' has no attribute {name!r}")
