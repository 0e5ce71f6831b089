"""A `config.json` that was edited by hand, or that is of something else: one line each, status 2."""

import json

import pytest

from tests.experiments.test_config import APEGAN
from tfdefense.cli.main import main


def edited(section, **changes):
    """Return the text of `APEGAN` with these keys of a section changed, or removed if None."""
    content = json.loads(APEGAN)
    target = content[section] if section else content
    for key, value in changes.items():
        if value is REMOVED:
            del target[key]
        else:
            target[key] = value
    return json.dumps(content)


REMOVED = object()
DAMAGED = [
    (APEGAN[:90], "config.json: not valid JSON (line 5"),
    ("[1, 2]", "config.json: [1, 2] found; an object is needed"),
    (edited("", schema=2), "config.json: schema is 2; 1 is needed"),
    (edited("", schema=REMOVED), "config.json: schema is null; 1 is needed"),
    (edited("", kind=REMOVED), "config.json: kind is missing; a string is needed"),
    (edited("", kind="defence"), "is a run of kind defence; one of kind defense is needed"),
    (edited("", settings=["apegan"]), 'config.json: settings is ["apegan"]; an object is needed'),
    (edited("settings", seed="zero"), 'settings.seed is "zero"; a whole number is needed'),
    (edited("settings", epochs=REMOVED), "settings.epochs is missing; a whole number is needed"),
    (edited("settings", epochs=1.5), "settings.epochs is 1.5; a whole number is needed"),
    (edited("settings", epochs=0), "config.json: --epochs=0: at least 1"),
    (edited("settings", dataset=7), "settings.dataset is 7; a string is needed"),
    (edited("settings", defense="apegam"), "config.json: unknown defense 'apegam'. Did you mean"),
    (edited("settings", mse_wieght=0.7), "settings.mse_wieght is unknown; --defense=apegan has"),
    (edited("settings", bits=3), "settings.bits is unknown; --defense=apegan has"),
    (edited("settings", mse_weight="0.7"), 'settings.mse_weight is "0.7"; a number is needed'),
    (edited("settings", mse_weight=True), "settings.mse_weight is true; a number is needed"),
    (edited("settings", mse_weight=-1), "config.json: --mse_weight=-1: 0 or more"),
    (
        edited("settings", strengths=[0.1, "big"]),
        'settings.strengths is [0.1, "big"]; a list of numbers or null is needed',
    ),
    (
        edited("settings", image_size=[32]),
        "settings.image_size is [32]; a list of 2 whole numbers or null is needed",
    ),
    (edited("settings", generator="unett"), "config.json: unknown --generator 'unett'"),
    (edited("surroundings", steps="two"), 'surroundings.steps is "two"; a whole number or null'),
    (edited("surroundings", steps=REMOVED), "surroundings.steps is missing: an older version"),
    (edited("surroundings", data_dir=3), "surroundings.data_dir is 3; a string or null is needed"),
    (
        edited("surroundings", pairs=["/adv"]),
        "surroundings.pairs has 1 directories; 0 are needed, one for each of settings.pairs",
    ),
]


@pytest.mark.parametrize("damaged", DAMAGED, ids=[message for _, message in DAMAGED])
@pytest.mark.parametrize("command", ["evaluate", "train"])
def test_one_line_names_file_key_and_type(damaged, command, tmp_path, monkeypatch, capsys):
    text, message = damaged
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(text)
    assert main([command, "--run=mine"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1, errors
    assert message in errors[0]
    assert "mine" in errors[0]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["config.json"]


CLASSIFIER = {
    "schema": 1,
    "kind": "classifier",
    "settings": {"dataset": "digits", "classifier": "lenet", "epochs": 1, "seed": 0},
    "surroundings": {"data_dir": None},
    "made_with": {},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classifier": 3}, "settings.classifier is 3; a string is needed"),
        ({"epochs": "one"}, 'settings.epochs is "one"; a whole number or null is needed'),
        ({"epochs": -1}, "config.json: --epochs=-1: 1 or more"),
        ({"seed": None}, "settings.seed is null; a whole number is needed"),
        ({"optimizer": "sdg"}, "config.json: unknown --optimizer 'sdg'. Did you mean 'sgd'"),
    ],
)
def test_so_does_a_classifier_s(changes, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = {**CLASSIFIER, "settings": {**CLASSIFIER["settings"], **changes}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert main(["train", "--run=."]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1, errors
    assert message in errors[0]


def test_a_file_that_is_not_text(tmp_path, capsys):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    assert main(["export", f"--run={tmp_path}"]) == 2
    assert "config.json: cannot be read" in capsys.readouterr().err
