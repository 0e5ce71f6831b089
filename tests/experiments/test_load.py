"""Failures while a run is read: damage of its files, and failures of the computer."""

import pytest
import tensorflow as tf

from tfdefense.errors import UserError
from tfdefense.experiments.load import damage_as_user_error
from tfdefense.training.run_directory import RunDirectory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("full"),
        tf.errors.ResourceExhaustedError(None, None, "OOM"),
        tf.errors.UnavailableError(None, None, "a worker has ended"),
        tf.errors.AbortedError(None, None, "a worker has ended"),
    ],
)
def test_failures_of_the_computer_are_not_damage(error):
    with pytest.raises(type(error)), damage_as_user_error(RunDirectory("run")):
        raise error


@pytest.mark.parametrize("error", [KeyError("a"), tf.errors.DataLossError(None, None, "short")])
def test_other_exceptions_are_damage(error):
    with (
        pytest.raises(UserError, match="--run=run: damaged"),
        damage_as_user_error(RunDirectory("run")),
    ):
        raise error
