"""tfdefense: train, attack, judge and serve defences of image classifiers against adversarial inputs.

    data = tfdefense.data.load("digits")
    classifier = tfdefense.classifiers.load("mnist_cnn", data)
    defense = tfdefense.defenses.APEGANPlusPlus(classifier)
    defense.fit(data.train, epochs=20)
    report = tfdefense.evaluate(defense, data.test)

Submodules are imported on first use, so that a command that only answers a bad flag answers at once.
"""

import importlib
import os
from typing import Any

__version__ = "0.1.0"

# Every network, attack and export here is TensorFlow's; Keras reads this when it is first imported.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

_SUBMODULES = (
    "attacks",
    "classifiers",
    "data",
    "defenses",
    "evaluation",
    "networks",
    "serving",
    "training",
    "zoo",
)


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"tfdefense.{name}")
    if name == "evaluate":
        return importlib.import_module("tfdefense.evaluation").evaluate
    raise AttributeError(f"module 'tfdefense' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_SUBMODULES, "evaluate", "__version__"])
