"""Purifiers in front of image classifiers: train, attack, evaluate and serve them.

    import tfdefense

    data = tfdefense.data.load("digits")
    classifier = tfdefense.classifiers.load("mnist_cnn", data)
    defense = tfdefense.defenses.APEGANPlusPlus(classifier)
    defense.fit(data.train, epochs=20)
    report = tfdefense.evaluate(defense, data.test)
    print(report.summary)
    tfdefense.serving.export(defense, "export")

Submodules are imported on first use, so that the command line reports an invalid flag without
waiting for TensorFlow.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # For type checkers and editors, which do not see `__getattr__` below.
    from tfdefense import (
        attacks,
        classifiers,
        data,
        defenses,
        evaluation,
        networks,
        serving,
        training,
        zoo,
    )
    from tfdefense.evaluation import evaluate

__version__ = "0.3.0.dev0"

__all__ = [
    "attacks",
    "classifiers",
    "data",
    "defenses",
    "evaluate",
    "evaluation",
    "networks",
    "serving",
    "training",
    "zoo",
]

# All networks, attacks and exports use TensorFlow. Keras reads this variable on its first import.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow uses its fast convolutions by itself only on processors with AVX-512: see
# docs/results/speed.md.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def __getattr__(name: str) -> Any:
    if name == "evaluate":
        return importlib.import_module("tfdefense.evaluation").evaluate
    if name in __all__:
        return importlib.import_module(f"tfdefense.{name}")
    raise AttributeError(f"module 'tfdefense' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
