"""Commands that answer without TensorFlow: the same text, from the same code, in a second."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.test_tfds_metadata import write_metadata
from tfdefense.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
# Runs commands in a fresh process; for each: status, and whether TensorFlow was imported.
_RUN = """
import contextlib, io, json, sys
LIBRARIES = ("cleverhans", "h5py", "keras", "scipy", "sklearn", "tensorboard", "tensorflow")
from tfdefense.cli.main import main
results = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    left = [name for name in sys.modules if name.split(".")[0] in LIBRARIES]
    results.append([status, out.getvalue(), err.getvalue(), left])
json.dump(results, sys.stdout)
"""

WRONG = [
    ["train"],
    ["train", "--defense=apegnpp"],
    ["train", "--defense=apeganpp", "--classifier=mnistcnn"],
    ["train", "--classifier=lenett"],
    ["train", "--defense=apeganpp", "--epohcs=3"],
    ["train", "--defense=apeganpp", "--epochs=0"],
    ["train", "--defense=apeganpp", "--attacks=fgms"],
    ["train", "--defense=apeganpp", "--attacks=pgd:steps=0"],
    ["train", "--defense=apeganpp", "--epsilon=1.5"],
    ["train", "--defense=apeganpp", "--strategy=tpu"],
    ["train", "--run=nowhere"],
    ["train", "--defense=apeganpp", "--dataset=mnistt"],
    ["train", "--defense=apeganpp", "--dataset=mnist", "--data_dir=nowhere"],
    ["train", "--defense=apeganpp", "--attacks=cleverhans:nope"],
    ["attack", "--attack=fgsm", "--dataset=mnistt"],
    ["evaluate", "--defense=bit_depth", "--attacks=art:"],
    ["evaluate", "--defense=bit_depth", "--dataset=mnistt"],
    ["attack", "--attack=fgms"],
    ["attack", "--attack=fgsm", "--epsilon=3"],
    ["attack", "--attack=fgsm", "--classifier=lenett"],
    ["evaluate", "--run=nowhere"],
    ["evaluate", "--pretrained=nothing"],
    ["evaluate", "--defense=bit_depth", "--checks=none_such"],
    ["evaluate", "--compare", "nowhere", "nothing"],
    ["certify", "--run=nowhere"],
    ["export", "--run=nowhere"],
    ["export", "--run=nowhere", "--precision=int4"],
    ["purify", "--model=here"],
    ["purify", "--model=m", "--server=host", "--input=a", "--output=b"],
    ["reproduce", "--paper=none"],
    ["reproduce", "--paper=apeganpp", "--tables=none"],
]


@pytest.fixture(scope="module")
def run_fresh(tmp_path_factory):
    def run(commands, **variables):
        ran = subprocess.run(
            [sys.executable, "-c", _RUN, json.dumps(commands)],
            cwd=tmp_path_factory.mktemp("fresh"),
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(ran.stdout)

    return run


def test_help_and_list_are_those_of_the_real_libraries(run_fresh, capsys):
    commands = [[command, "--help"] for command in COMMANDS] + [["train", "--list"]]
    for command, (status, out, err, left) in zip(commands, run_fresh(commands), strict=True):
        assert main(command) == status == 0
        assert (out, err, left) == (*capsys.readouterr(), [])


def test_wrong_flags_and_names_get_the_message_of_the_real_libraries(run_fresh, capsys):
    for command, (status, _, err, left) in zip(WRONG, run_fresh(WRONG), strict=True):
        assert main(command) == status == 2, command
        assert (err, left) == (capsys.readouterr().err, []), command


def test_a_dry_run_needs_neither_tensorflow_nor_images(run_fresh, tmp_path):
    write_metadata(tmp_path / "mnist" / "3.0.1", ("28", "28", "1"), train=60_000, test=10_000)
    write_metadata(tmp_path / "cifar10" / "3.0.2", ("32", "32", "3"), train=50_000, test=10_000)
    ((status, out, err, left),) = run_fresh(
        [["reproduce", "--all", "--budget=cpu", "--dry_run"]], TFDS_DATA_DIR=str(tmp_path)
    )
    assert (status, err, left) == (0, "", [])
    assert out.count("Total: about") == 2
    assert "Images of mnist, cifar10 are not read." in out


def test_a_use_of_tensorflow_ends_the_block_where_exceptions_are_handled_too():
    _run_code('''
from tfdefense.cli.tensorflow_stand_in import TensorFlowNeededError, tensorflow_stand_in
namespace = {"__name__": "tfdefense.some_module"}
code = """
import tensorflow as tf
def use():
    try:
        tf.zeros([1])
    except Exception:
        pass
"""
try:
    with tensorflow_stand_in():
        exec(code, namespace)
        namespace["use"]()
except TensorFlowNeededError:
    pass
else:
    raise AssertionError
''')


@pytest.mark.slow
def test_the_block_forgets_what_has_seen_a_stand_in_and_other_libraries_never_see_one():
    libraries = {
        "cleverhans": "cleverhans:spsa",
        "art": "art:DeepFool",
        "foolbox": "foolbox:LinfPGD",
    }
    attacks = [attack for name, attack in libraries.items() if importlib.util.find_spec(name)]
    assert attacks, "none of the libraries is installed"
    _run_code(f"""
import sys
from tfdefense.cli import main
from tfdefense.cli.tensorflow_stand_in import TensorFlowNeededError, tensorflow_stand_in
with tensorflow_stand_in():
    from tfdefense.attacks.fgsm import FGSM
    assert FGSM.name == "fgsm"
forgotten = ("art", "cleverhans", "foolbox", "scipy", "sklearn", "tensorflow", "tfdefense.attacks")
for attack in {attacks}:
    try:
        with tensorflow_stand_in():
            main._parse_and_run("evaluate", ["--defense=bit_depth", f"--attacks={{attack}}"])
    except TensorFlowNeededError:
        pass
    else:
        raise AssertionError(attack)
    assert not [name for name in sys.modules if name.startswith(forgotten)], attack
# The same flags with the real libraries.
from tfdefense.attacks import fgsm
from tfdefense.cli import evaluation_flags
import tensorflow
assert fgsm.tf is tensorflow
for attack in {attacks}:
    assert evaluation_flags.evaluation_from_flags({{"attacks": [attack]}}).attacks == (attack,)
""")


def _run_code(code):
    subprocess.run([sys.executable, "-c", code], check=True)
