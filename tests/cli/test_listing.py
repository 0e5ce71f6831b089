"""bin/train --list."""

from tfdefense.attacks import ATTACKS
from tfdefense.classifiers import CLASSIFIERS
from tfdefense.cli.main import main
from tfdefense.data import SOURCES
from tfdefense.defenses.registry import DEFENSES


def test_everything_is_listed(capsys):
    assert main(["train", "--list"]) == 0
    printed = capsys.readouterr().out
    for registry in (DEFENSES, CLASSIFIERS, ATTACKS, SOURCES):
        for name in registry.names():
            (line,) = (line for line in printed.splitlines() if line.startswith(f"  {name} "))
            assert len(line.split(maxsplit=1)[1]) > 15, f"{name} has no summary"
