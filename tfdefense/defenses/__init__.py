"""Defences. A new one is one file here and one line in `DEFENSES`."""

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
        "spatial_smoothing": "tfdefense.defenses.spatial_smoothing:SpatialSmoothing",
        "total_variation": "tfdefense.defenses.total_variation:TotalVariation",
    },
)


def __getattr__(name: str) -> Any:
    """`tfdefense.defenses.APEGANPlusPlus` and every other registered class, imported when used."""
    for entry, target in DEFENSES.entries.items():
        if target.endswith(f":{name}"):
            return DEFENSES.get(entry)
    raise AttributeError(f"module 'tfdefense.defenses' has no attribute {name!r}")
