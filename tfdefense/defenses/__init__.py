"""Defences. A new one is one file here and one line in `DEFENSES`."""

from typing import Any

from tfdefense.registry import Registry

DEFENSES = Registry(
    "defense",
    {
        "apeganpp": "tfdefense.defenses.ape_gan_pp:APEGANPlusPlus",
    },
)


def __getattr__(name: str) -> Any:
    """`tfdefense.defenses.APEGANPlusPlus` and every other registered class, imported when used."""
    for entry, target in DEFENSES.entries.items():
        if target.endswith(f":{name}"):
            return DEFENSES.get(entry)
    raise AttributeError(f"module 'tfdefense.defenses' has no attribute {name!r}")
