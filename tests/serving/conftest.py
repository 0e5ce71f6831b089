"""One exported model for all tests of what is served."""

from pathlib import Path

import pytest

import tfdefense
from tfdefense.serving import export


@pytest.fixture(scope="session")
def served_defense(toy_model) -> tfdefense.defenses.APEGANPlusPlus:
    return tfdefense.defenses.APEGANPlusPlus(toy_model)


@pytest.fixture(scope="session")
def exported(served_defense, tmp_path_factory) -> Path:
    """`apeganpp/1`, with class names."""
    directory = tmp_path_factory.mktemp("models") / "apeganpp"
    return export(served_defense, directory, class_names=("up", "middle", "down"))
