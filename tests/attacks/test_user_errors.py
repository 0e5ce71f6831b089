"""Messages for invalid hyperparameters and arguments: name, given value, allowed values."""

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import (
    APGDT,
    ATTACKS,
    BIM,
    FABT,
    FGSM,
    JSMA,
    PGD,
    AutoAttack,
    CarliniWagnerL2,
    DeepFool,
    Expectation,
    HopSkipJump,
    Square,
    StrongestOf,
    is_bounded,
    make_attack,
)
from tfdefense.errors import UserError


@pytest.mark.parametrize("name", [name for name in ATTACKS.names() if is_bounded(name)])
@pytest.mark.parametrize("epsilon", [-0.1, 1.5, float("nan")])
def test_epsilon_out_of_range_is_refused(name, epsilon):
    with pytest.raises(UserError, match=f"{name}: epsilon {epsilon} given"):
        make_attack(name, epsilon=epsilon)


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: BIM(steps=0), "bim: steps 0 given, at least 1"),
        (lambda: BIM(relative_step_size=-1), "relative_step_size -1 given"),
        (lambda: PGD(restarts=0), "pgd: restarts 0 given"),
        (lambda: PGD(start="block"), "unknown pgd: start 'block'. Did you mean 'blocks'"),
        (lambda: PGD(start="blocks", norm="l2"), "start 'blocks' given with norm 'l2', 'linf'"),
        (lambda: FGSM(norm="l3"), r"unknown fgsm: norm 'l3'.*Known: l2, linf"),
        (lambda: DeepFool(norm="linv"), "Did you mean 'linf'"),
        (lambda: Square(norm="l1"), "unknown square: norm 'l1'.*Known: l2, linf"),
        (lambda: DeepFool(candidates=1), "deepfool: candidates 1 given, 2 or more"),
        (lambda: DeepFool(overshoot=-0.1), "overshoot -0.1 given"),
        (lambda: JSMA(theta=0), "jsma: theta 0 given"),
        (lambda: JSMA(gamma=2), "jsma: gamma 2 given"),
        (lambda: JSMA(targets="any"), "jsma: targets any given"),
        (lambda: JSMA(targets="rnadom"), "Did you mean 'random'"),
        (lambda: JSMA(saliency="softmax"), "unknown jsma: saliency 'softmax'"),
        (lambda: CarliniWagnerL2(confidence=-1), "cw: confidence -1 given"),
        (lambda: CarliniWagnerL2(learning_rate=0), "cw: learning_rate 0 given"),
        (lambda: CarliniWagnerL2(box="sigmoid"), "unknown cw: box 'sigmoid'"),
        (lambda: APGDT(target_classes=0), "apgd_t: target_classes 0 given"),
        (lambda: FABT(beta=0), "fab_t: beta 0 given"),
        (lambda: FABT(beta=1.0), r"fab_t: beta 1.0 given, in \(0, 1\) needed"),
        (lambda: FABT(alpha_max=1.5), "fab_t: alpha_max 1.5 given"),
        (lambda: FABT(eta=0.5), "fab_t: eta 0.5 given"),
        (lambda: Square(queries=0), "square: queries 0 given"),
        (lambda: Square(first_area=0), "square: first_area 0 given"),
        (lambda: HopSkipJump(queries=0), "hop_skip_jump: queries 0 given, at least 1 needed"),
        (lambda: HopSkipJump(restarts=0), "hop_skip_jump: restarts 0 given"),
        (lambda: HopSkipJump(resolution=0), "hop_skip_jump: resolution 0 given, a number above 0"),
        (lambda: HopSkipJump(norm="l1"), "unknown hop_skip_jump: norm 'l1'"),
        (lambda: AutoAttack(version="plus"), "unknown auto_attack: version 'plus'"),
        (lambda: StrongestOf(()), "strongest_of: no attacks given"),
        (
            lambda: StrongestOf((FGSM(epsilon=tf.fill([2, 1, 1, 1], 0.1)),)),
            "strongest_of: fgsm with an epsilon for each image given",
        ),
        (lambda: Expectation(lambda images: images, draws=0), "draws 0 given"),
        (lambda: make_attack("fgsm", epsilom=1), "fgsm: has no 'epsilom'. Did you mean 'epsilon'"),
        (lambda: make_attack("deepfol"), "Did you mean 'deepfool'"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(construct, message):
    with pytest.raises(UserError, match=message):
        construct()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.eye(5)[:, :3]}, r"labels: shape \(5, 3\) given, \(20,\) class numbers"),
        ({"labels": np.eye(5, dtype=int)[np.arange(20) % 5]}, r"labels: shape \(20, 5\) given"),
        ({"labels": np.full(20, 7)}, r"labels: values in \[7, 7\], \[0, 4\] needed"),
        ({"labels": np.full(20, -1)}, r"labels: values in \[-1, -1\]"),
        ({"labels": np.zeros(20)}, "labels: dtype float64 given, integer"),
        ({"labels": np.zeros(19, int)}, r"labels: shape \(19,\) given, \(20,\)"),
        ({"images": 255 * np.ones((20, 10, 10, 2), np.float32)}, "divide by 255"),
        ({"images": np.full((20, 10, 10, 2), np.nan, np.float32)}, "contain NaN"),
        ({"images": np.zeros((20, 10, 10, 2), np.uint8)}, "dtype uint8 given, float32"),
        ({"images": np.zeros((10, 10, 2), np.float32)}, r"\[N, H, W, C\] needed"),
        ({"targets": np.arange(20) % 5}, "targets: 20 of 20 equal their label"),
        ({"targets": np.full(20, 9)}, r"targets: values in \[9, 9\], \[0, 4\] needed"),
        ({"model": "cnn.keras"}, "model: str given, a callable needed"),
        ({"model": lambda images: images}, r"model: output of shape \(8, 10, 10, 2\)"),
        ({"model": lambda images: np.nan * images[:, :, 0, 0]}, "not finite"),
    ],
)
def test_invalid_arguments_are_refused(change, message, victim, victim_images, victim_labels):
    given = {"model": victim, "images": victim_images, "labels": victim_labels, **change}
    with pytest.raises(UserError, match=message):
        FGSM()(**given)


def test_probabilities_in_place_of_logits_are_refused(victim, victim_images, victim_labels):
    def softmax(images):
        return tf.nn.softmax(victim(images))

    with pytest.raises(UserError, match=r"gives probabilities.*logits needed"):
        FGSM()(softmax, victim_images, victim_labels)


def test_epsilons_for_another_number_of_images_are_refused(victim, victim_images, victim_labels):
    attack = FGSM(epsilon=tf.fill([3, 1, 1, 1], 0.1))
    with pytest.raises(UserError, match="epsilon for 3 images given, 20 images given"):
        attack(victim, victim_images, victim_labels)
    with pytest.raises(UserError, match=r"epsilon 1.5 given"):
        FGSM(epsilon=tf.fill([20, 1, 1, 1], 1.5))(victim, victim_images, victim_labels)
    with pytest.raises(UserError, match=r"epsilon -0.1 given"):
        FGSM(epsilon=tf.fill([20, 1, 1, 1], -0.1))(victim, victim_images, victim_labels)
