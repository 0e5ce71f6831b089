import keras
import numpy as np
import pytest
import tensorflow as tf

from tfdefense.defenses.core.optimizer import AveragingAdam
from tfdefense.defenses.core.overfitting_probe import OverfittingProbe
from tfdefense.defenses.robust_purifier import RobustPurifier


class Training:
    """A network of one weight whose validation returns given accuracies, one after the other."""

    def __init__(self, accuracies, momentum=0.0, rising_steps=0, num_classes=10, images=500):
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
            images,
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


def test_the_chance_of_few_images_is_no_collapse(capsys):
    """Of 20 images, 7 and then 3 may withstand if each does with a probability of a quarter."""
    training = Training([0.35, 0.15, 0.35], images=20)
    training.run([1.0, 2.0])
    assert not training.probe.has_collapsed
    assert "no better than chance" in capsys.readouterr().out
    training = Training([0.35, 0.15, 0.35])
    training.run([1.0, 2.0])
    assert training.probe.has_collapsed


def test_without_any_robustness_the_last_weights_are_kept_and_a_line_says_so(capsys):
    training = Training([0.0, 0.0, 0.12], rising_steps=2)
    training.run([1.0, 2.0])
    assert capsys.readouterr().out == ""
    training.run([3.0])
    assert training.weight == 3.0
    assert not training.probe.has_collapsed
    assert capsys.readouterr().out == (
        "Training ended, but almost nothing withstands PGD: the best accuracy under it is 12.0%, near"
        " chance (10.0%). Lower --learning_rate, or train with --inner_attack=pgd.\n"
    )


def test_a_training_that_withstands_some_attacks_ends_without_a_line(capsys):
    Training([0.0, 0.21], rising_steps=1).run([1.0, 2.0])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("rising_steps", "lines"), [(3, 0), (0, 1)])
def test_a_good_training_that_withstands_little_at_first_is_not_stopped(
    capsys, rising_steps, lines
):
    training = Training([0.02, 0.10, 0.24, 0.3, 0.31], rising_steps=rising_steps, num_classes=43)
    training.run([1.0, 2.0, 3.0, 4.0, 5.0])
    assert not training.probe.has_collapsed
    assert training.weight == 5.0
    assert len(capsys.readouterr().out.splitlines()) == lines


def test_one_line_says_that_nothing_is_withstood_after_the_rise(capsys):
    training = Training([0.0, 0.0, 0.0, 0.01, 0.3], rising_steps=1)
    training.run([1.0])
    assert capsys.readouterr().out == ""
    training.run([2.0])
    printed = capsys.readouterr().out
    assert printed.startswith("Accuracy under PGD is 0.0%, no better than chance (10.0%).")
    assert printed.count("\n") == 1
    training.run([3.0, 4.0, 5.0])
    assert capsys.readouterr().out == ""
    assert not training.probe.has_collapsed


def test_a_collapse_at_the_first_pass_after_the_rise_stops_training(capsys):
    training = Training([0.3, 0.5, 0.02, 0.4], rising_steps=2)
    training.run([1.0, 2.0, 3.0])
    assert training.probe.has_collapsed
    assert training.weight == 2.0
    assert "fell to 2.0% from 50.0%" in capsys.readouterr().out


def test_a_fall_during_the_rise_that_ends_with_it_is_no_collapse():
    training = Training([0.5, 0.02, 0.3, 0.4], rising_steps=2)
    training.run([1.0, 2.0, 3.0, 4.0])
    assert not training.probe.has_collapsed


def test_a_resumed_training_judges_accuracies_of_the_rise_before_the_resume():
    first, second = Training([0.5], rising_steps=1), Training([0.02, 0.4], rising_steps=1)
    first.run([1.0])
    for source, target in zip(first.probe.variables, second.probe.variables, strict=True):
        target.assign(source)
    second.optimizer.iterations.assign(1)
    second.run([2.0])
    assert second.probe.has_collapsed
    assert second.weight == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("hyperparameters", "rising_steps"),
    [
        ({"ramp": 0.5, "schedule": "triangle"}, 50),
        ({"ramp": 0.1, "schedule": "triangle"}, 20),
        ({"ramp": 0.1, "schedule": "cosine"}, 10),
    ],
)
def test_the_rise_ends_when_epsilon_and_the_learning_rate_have_risen(
    toy_model, hyperparameters, rising_steps
):
    purifier = RobustPurifier(toy_model, inner_attack="nfgsm", **hyperparameters)
    purifier.prepare(100)
    assert purifier.probe.rising_steps == rising_steps


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
