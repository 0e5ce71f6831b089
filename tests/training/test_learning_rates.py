import numpy as np
import pytest
import tensorflow as tf

from tfdefense.training.learning_rates import Triangle, count_rising_steps


@pytest.mark.parametrize("steps", [7, 50])
def test_the_rate_of_a_triangle_rises_in_the_counted_steps_and_falls_then(steps):
    rates = Triangle(0.1, steps)(tf.range(steps)).numpy()
    rising = count_rising_steps("triangle", steps)
    assert np.all(np.diff(rates[:rising]) > 0)
    assert np.all(np.diff(rates[rising:]) < 0)
    assert rates.max() == pytest.approx(0.1, rel=0.1)


def test_other_rates_do_not_rise():
    assert count_rising_steps("cosine", 50) == count_rising_steps("constant", 50) == 0
