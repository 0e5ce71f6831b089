"""bin/attack: adversarial images of a classifier and of a pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest

from tfdefense.cli.main import main

ATTACK = ["attack", "--attack=jsma", "--theta=0.5", "--gamma=0.3", "--images=12", "--batch_size=5"]


@pytest.mark.slow
def test_attack_writes_examples_and_a_summary_and_finds_them_again(run, capsys):
    assert main(ATTACK) == 0
    printed = capsys.readouterr().out
    for needed in ("fooled", "rounded to 8 bits", "n=12", "theta=0.5", "summary.json", "Crafting"):
        assert needed in printed
    (found,) = Path("runs/attacks").glob("digits-test-mnist_cnn-jsma-*")
    with np.load(found / "shards" / "00000010.npz") as shard:
        assert shard["adversarial"].shape == (2, 28, 28, 1)
        assert shard["adversarial"].dtype == np.float32
    assert main(ATTACK) == 0
    assert "Found in" in capsys.readouterr().out
    assert json.loads((found / "summary.json").read_text())["settings"]["gamma"] == 0.3


@pytest.mark.slow
def test_attack_on_a_run_attacks_the_whole_defence(run, capsys):
    assert main(["attack", "--attack=bim", f"--run={run}", "--images=5", "--epsilon=0.4"]) == 0
    assert "on apeganpp+mnist_cnn" in capsys.readouterr().out
