"""Keras finds a saved layer by its registered name, and the second class of a name silently takes the first one's place."""

import ast
from collections import Counter
from pathlib import Path

import tfdefense


def registered(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            decorators = [ast.unparse(each) for each in node.decorator_list]
            if any("register_keras_serializable" in each for each in decorators):
                yield node.name


def test_no_two_layers_share_one():
    files = Path(tfdefense.__file__).parent.rglob("*.py")
    names = Counter(name for file in files for name in registered(ast.parse(file.read_text())))
    assert "SmallUNet" in names
    assert [name for name, count in names.items() if count > 1] == []
