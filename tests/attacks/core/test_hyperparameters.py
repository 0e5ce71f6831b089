"""Hyperparameters of all attacks with the descriptions in their docstrings."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import ATTACKS, PGD
from tfdefense.attacks.core.hyperparameters import hyperparameter_values, list_hyperparameters
from tfdefense.errors import UserError


def test_every_hyperparameter_is_described_in_a_docstring():
    found = {each.name: each for each in list_hyperparameters()}
    for name in ATTACKS.names():
        for field in dataclasses.fields(ATTACKS.get(name)):
            assert len(found[field.name].help) > 10, (name, field.name)
            assert found[field.name].defaults[name] == field.default


def test_help_is_one_line_from_the_right_entry():
    found = {each.name: each.help for each in list_hyperparameters()}
    assert found["overshoot"].startswith("distance beyond the boundary")
    assert "\n" not in found["box"]
    assert found["alpha_max"] == found["beta"]


def test_values_of_an_attack_are_those_of_its_fields():
    assert hyperparameter_values(PGD(steps=3)) == {
        "epsilon": 0.3,
        "norm": "linf",
        "steps": 3,
        "relative_step_size": 1 / 30,
        "stop_at_success": False,
        "restarts": 1,
        "start": "uniform",
        "seed": 0,
    }


def test_values_of_numpy_become_plain():
    values = hyperparameter_values(PGD(epsilon=np.float32(0.25), steps=np.int64(3)))
    assert json.loads(json.dumps(values))["epsilon"] == 0.25
    assert type(values["steps"]) is int


def test_radius_for_each_image_is_not_stored():
    with pytest.raises(UserError, match="epsilon: one for each image given, one number needed"):
        hyperparameter_values(PGD(epsilon=tf.fill([2, 1, 1, 1], 0.1)))
