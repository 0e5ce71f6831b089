"""Parameters of a library's attack, from its signature."""

import inspect

import pytest

from tfdefense.adapters.parameter_names import (
    check_parameter_names,
    check_parameter_types,
    parameter_defaults,
)
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


def typed(size: float = 1.0, steps: int = 3, layer: int = 0, *, stop=True, norm="inf"):
    pass


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ({"steps": 2.5}, "steps=2.5, a whole number"),
        ({"steps": "abc"}, "steps=abc, a whole number"),
        ({"steps": -3}, "steps=-3, a whole number"),
        ({"steps": True}, "steps=True, a whole number"),
        ({"size": "abc"}, "size=abc, a number"),
        ({"stop": 1}, "stop=1, True or False"),
    ],
)
def test_a_value_of_another_type_is_an_error(values, needed):
    with pytest.raises(UserError, match=f"--attacks=x:y: {needed}"):
        check_parameter_types(values, typed, "x:y")


def test_values_of_the_right_type_pass():
    values = {"size": 2, "steps": 1, "layer": -1, "stop": False, "norm": 2}
    check_parameter_types(values, typed, "x:y")
