"""Keras finds a saved layer by its registered name; a second class of a name replaces the first."""

import ast
from collections import Counter
from pathlib import Path

import tfdefense

# The names in saved models and pretrained purifiers. Renaming a class must not change them.
NETWORKS = {
    "Autoencoder",
    "Critic",
    "EncoderDecoderGenerator",
    "LatentGenerator",
    "PatchGAN",
    "PixelThresholds",
    "ResidualUNet",
    "SmallUNet",
    "Thresholds",
    "UNet",
}


def registered_names(tree):
    """Names of the classes with `register_keras_serializable`: its `name`, or the class name."""
    for node in ast.walk(tree):
        for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            if "register_keras_serializable" in ast.unparse(decorator):
                names = [each.value.value for each in decorator.keywords if each.arg == "name"]
                yield (names or [node.name])[0]


def test_registered_names_are_unique_and_those_of_saved_networks():
    package = Path(tfdefense.__file__).parent
    by_file = {
        file: list(registered_names(ast.parse(file.read_text()))) for file in package.rglob("*.py")
    }
    counts = Counter(name for names in by_file.values() for name in names)
    assert [name for name, count in counts.items() if count > 1] == []
    in_networks = {
        name for file, names in by_file.items() if file.parent.name == "networks" for name in names
    }
    assert in_networks == NETWORKS
