"""Parameters of a library's attack, from its signature."""

import inspect

import pytest

from tfdefense.adapters.parameter_names import check_parameter_names, parameter_defaults
from tfdefense.errors import UserError


def attack(model, eps, steps=3, *args, **options):
    pass


def test_reserved_and_variadic_parameters_are_left_out():
    assert parameter_defaults(attack, ("model",)) == {"eps": inspect.Parameter.empty, "steps": 3}


def test_an_unknown_parameter_gets_the_nearest_name():
    check_parameter_names({"steps": 1}, ["steps"], "x:y")
    with pytest.raises(
        UserError, match=r"x:y: has no 'step'. Did you mean 'steps'\? It has: steps"
    ):
        check_parameter_names({"step": 1}, ["steps"], "x:y")
    with pytest.raises(UserError, match=r"has no 'step'. It has: no parameters"):
        check_parameter_names({"step": 1}, [], "x:y")
