import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.defenses.core.optimizer import AveragingAdam
from tfdefense.defenses.core.overfitting_probe import OverfittingProbe


class Training:
    """A network of one weight whose validation returns given accuracies, one after the other."""

    def __init__(self, accuracies, momentum=0.0, rising_steps=0, num_classes=10):
        self.network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        self.optimizer = AveragingAdam(average=momentum, learning_rate=1.0)
        self.optimizer.build(self.network.trainable_variables)
        self.probe = OverfittingProbe(
            self.network, self.optimizer, len(accuracies), rising_steps, num_classes
        )
        remaining = iter(accuracies)
        self.validate = self.probe.watch(
            lambda: (self.seen.append(self.weight), ({"accuracy_pgd": next(remaining)}, {}))[1],
            "accuracy_pgd",
        )
        self.seen = []

    @property
    def weight(self):
        return float(self.network.get_weights()[0][0, 0])

    def run(self, weights):
        """Validate with each of these weights."""
        for weight in weights:
            self.network.set_weights([np.full((1, 1), weight, np.float32)])
            self.optimizer.iterations.assign_add(1)
            self.validate()


def test_the_most_robust_weights_replace_the_last_ones():
    training = Training([0.2, 0.4, 0.3])
    training.run([1.0, 2.0, 3.0])
    assert training.weight == 2.0
    assert not training.probe.has_collapsed


def test_training_continues_with_its_last_weights_although_others_are_more_robust():
    training = Training([0.4, 0.3, 0.35])
    training.run([1.0, 2.0])
    assert training.weight == 2.0
    training.run([3.0])
    assert training.seen == [1.0, 2.0, 3.0]
    assert training.weight == 1.0


def test_a_collapse_stops_training_and_prints_why(capsys):
    training = Training([0.4, 0.19, 0.5])
    training.run([1.0, 2.0])
    assert training.probe.has_collapsed
    assert training.weight == 1.0
    printed = "".join(capsys.readouterr())
    assert "accuracy under PGD fell to 19.0% from 40.0% (catastrophic overfitting)" in printed
    assert "gets its weights with 40.0%" in printed


def test_without_any_robustness_the_last_weights_are_kept():
    training = Training([0.0, 0.0])
    training.run([1.0, 2.0])
    assert training.weight == 2.0
    assert not training.probe.has_collapsed


def test_a_collapse_is_judged_once_the_learning_rate_has_risen():
    training = Training([0.8, 0.1, 0.1, 0.1], rising_steps=2)
    training.run([1.0, 2.0])
    assert not training.probe.has_collapsed
    training.run([3.0])
    assert training.probe.has_collapsed
    assert training.weight == 1.0


@pytest.mark.parametrize(
    ("num_classes", "best", "collapses"),
    [
        (10, 0.2, False),
        (10, 0.21, True),
        (43, 0.1, False),
        (43, 0.11, True),
        (3, 0.66, False),
        (3, 0.67, True),
        (2, 0.75, False),
        (2, 0.76, True),
    ],
)
def test_accuracies_near_chance_are_not_judged(num_classes, best, collapses):
    training = Training([best, 0.0, 0.0], num_classes=num_classes)
    training.run([1.0, 2.0])
    assert training.probe.has_collapsed == collapses


def test_the_average_of_the_weights_is_validated_and_kept():
    training = Training([0.2, 0.4, 0.3], momentum=0.5)
    average = training.optimizer._model_variables_moving_average[0]
    average.assign([[7.0]])
    training.run([1.0])
    assert training.seen == [7.0]
    assert training.weight == 1.0
    average.assign([[8.0]])
    training.run([2.0])
    average.assign([[9.0]])
    training.run([3.0])
    assert training.weight == 8.0


def test_a_resumed_training_knows_the_best_weights():
    first, second = Training([0.4]), Training([0.1, 0.2])
    first.run([1.0])
    for source, target in zip(first.probe.variables, second.probe.variables, strict=True):
        target.assign(source)
    second.run([2.0])
    assert second.probe.has_collapsed
    assert second.weight == pytest.approx(1.0)


def test_mirrored_variables_are_judged_too():
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        training = Training([0.4, 0.3])
    training.run([1.0, 2.0])
    assert training.weight == 1.0
