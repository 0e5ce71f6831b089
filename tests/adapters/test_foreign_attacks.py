"""The contract of attacks of other libraries, checked on all three libraries."""

import dataclasses

import numpy as np
import pytest

from tests.reports import evaluate_without_checks
from tfdefense.attacks import Expectation, StrongestOf
from tfdefense.attacks.core.adversarial_dataset_maker import (
    AdversarialStorage,
    make_adversarial_dataset,
)
from tfdefense.attacks.core.spec import format_attack, parse_attack
from tfdefense.errors import UserError
from tfdefense.evaluation import ThreatModels

# A label of each library with a radius in each norm, and one that minimises a norm.
BOUNDED = [
    "art:ProjectedGradientDescent:max_iter=5",
    "art:FastGradientMethod:norm=2",
    "cleverhans:projected_gradient_descent:nb_iter=5:eps_iter=0.1",
    "cleverhans:momentum_iterative_method:nb_iter=5:norm=2",
    "foolbox:LinfPGD:steps=5:rel_stepsize=0.4",
    "foolbox:L2PGD:steps=5:rel_stepsize=0.4",
]
UNBOUNDED = ["art:DeepFool:max_iter=10", "foolbox:L2DeepFoolAttack"]
EPSILONS = {"linf": 0.25, "l2": 2.0}
PLAIN = [
    "art:ProjectedGradientDescent:max_iter=5",
    "cleverhans:projected_gradient_descent:nb_iter=5:eps_iter=0.1",
    "foolbox:LinfPGD:steps=5:rel_stepsize=0.4",
]


def skip_without(label):
    """Skip, visibly, if the library is not installed. cleverhans comes with the package."""
    library = label.split(":")[0]
    if library != "cleverhans":
        pytest.importorskip(library, reason=f"tfdefense[{library}] is not installed")


@pytest.fixture
def attack(request):
    skip_without(request.param)
    return parse_attack(request.param, EPSILONS)


@pytest.mark.slow
@pytest.mark.parametrize("attack", BOUNDED + UNBOUNDED, ids=str, indirect=True)
def test_images_are_verified(attack, toy_model, toy_split):
    images, labels = toy_split.images, toy_split.labels.copy()
    labels[:2] = (labels[:2] + 1) % 3  # Two images fool the model before the attack.
    result = attack.run(toy_model, images, labels)
    made = result.images.numpy()
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1
    np.testing.assert_array_equal(made[:2], images[:2])
    np.testing.assert_array_equal(result.success, np.argmax(toy_model(made), 1) != labels)
    change = (made - images).reshape(24, -1)
    sizes = {"l2": np.linalg.norm(change, axis=1), "linf": np.abs(change).max(1)}
    for norm, size in sizes.items():
        np.testing.assert_allclose(getattr(result, norm), size, rtol=1e-4, atol=1e-6)
    if attack.epsilon is not None:
        assert attack.epsilon == EPSILONS[attack.norm]
        assert sizes[attack.norm].max() <= attack.epsilon + 1e-5
    assert np.asarray(result.success)[2:].any()
    np.testing.assert_array_equal(np.asarray(result.queries)[:2], 1)
    assert (np.asarray(result.queries)[2:] > 1).all()
    assert (np.asarray(result.gradients)[2:] > 0).all()
    # The same batch gives the same images.
    np.testing.assert_array_equal(attack(toy_model, images, labels), made)


@pytest.mark.parametrize("label", BOUNDED + UNBOUNDED)
def test_text_gives_the_attack_and_the_attack_its_text(label):
    skip_without(label)
    attack = parse_attack(label, EPSILONS)
    assert format_attack(attack) == label
    assert parse_attack(format_attack(attack), EPSILONS) == attack
    assert hash(attack) == hash(parse_attack(label, EPSILONS))
    assert attack.name == ":".join(label.split(":")[:2])
    if attack.epsilon is not None:
        assert parse_attack(f"{label}:epsilon=0.125").epsilon == 0.125
        assert parse_attack(label, 0.5).epsilon == 0.5
        assert dataclasses.replace(attack, epsilon=0.1).epsilon == 0.1


@pytest.mark.slow
@pytest.mark.parametrize("attack", PLAIN, ids=str, indirect=True)
def test_targets_are_approached(attack, toy_model, toy_split):
    targets = (toy_split.labels + 1) % 3
    attack = dataclasses.replace(attack, epsilon=0.6)
    result = attack.run(toy_model, toy_split.images, toy_split.labels, targets)
    np.testing.assert_array_equal(result.success, np.argmax(toy_model(result.images), 1) == targets)
    assert np.asarray(result.success).any()


@pytest.mark.slow
@pytest.mark.parametrize("attack", PLAIN, ids=str, indirect=True)
def test_a_randomised_model_is_attacked_in_expectation(attack, toy_model, toy_split):
    few = toy_split.take(4)
    result = attack.run(Expectation(toy_model, draws=2), few.images, few.labels)
    single = attack.run(toy_model, few.images, few.labels)
    np.testing.assert_array_equal(
        np.asarray(result.queries) - 1, 2 * (np.asarray(single.queries) - 1)
    )


@pytest.mark.parametrize("attack", PLAIN, ids=str, indirect=True)
def test_it_cannot_be_part_of_a_graph(attack, toy_model, toy_split):
    with pytest.raises(UserError, match="cannot be part of strongest_of"):
        StrongestOf([attack])(toy_model, toy_split.images, toy_split.labels)


@pytest.mark.slow
@pytest.mark.parametrize("attack", PLAIN, ids=str, indirect=True)
def test_images_are_stored_under_the_version_of_the_library(attack, toy_model, toy_split, tmp_path):
    from tfdefense.classifiers import FrozenClassifier

    model, few = FrozenClassifier(toy_model, (12, 12, 1)), toy_split.take(6)
    storage = AdversarialStorage(runs_dir=tmp_path)
    first = make_adversarial_dataset(model, few, attack, storage)
    again = make_adversarial_dataset(model, few, attack, storage)
    assert again.directory.path == first.directory.path
    assert again.seconds == first.seconds
    np.testing.assert_array_equal(first.adversarial, attack(model, few.images, few.labels))
    library = attack.library
    assert attack.revision.rpartition(f"{library}-")[2][0].isdigit()
    assert attack.revision in str(first.settings)


@pytest.mark.slow
@pytest.mark.parametrize("attack", PLAIN, ids=str, indirect=True)
def test_it_is_in_a_report_under_its_name(attack, toy_model, toy_split):
    import tfdefense

    defense = tfdefense.defenses.BitDepth(toy_model, bits=2)
    names = ("grey_box", "white_box", "transfer")
    threat_models = ThreatModels(names, source=defense.classifier)
    report = evaluate_without_checks(
        defense, toy_split.take(6), [attack], white_box_images=6, threat_models=threat_models
    )
    label = format_attack(attack)
    for threat_model in names:
        assert report.row("bit_depth", label, threat_model).epsilon == attack.epsilon
        assert report.row("bit_depth", "worst_case", threat_model).n > 0
    assert f"bit_depth/{label}/white_box" in report.per_image


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("art:", "give the name of an attack, art:NAME"),
        ("art:HopSkipJmp", "Did you mean 'HopSkipJump'"),
        ("art:HopSkipJump:max_itr=3", "Did you mean 'max_iter'"),
        ("art:HopSkipJump:max_iter=few", "max_iter=few, a whole number of 1 or more needed"),
        ("art:HopSkipJump:epsilon=0.1", "has no 'epsilon'"),
        ("art:DPatch", "art:DPatch: "),
        ("art:AdversarialPatch", "returns a patch and no images"),
        ("art:LaserAttack", "needs iterations, which has no default"),
        ("art:ProjectedGradientDescent:targeted=True", "has no 'targeted'"),
        ("art:FastGradientMethod:norm=1", "epsilon, the radius in l1, is needed"),
        ("cleverhans:pgd", "unknown --attacks=cleverhans 'pgd'"),
        ("cleverhans:spsa:nb_itr=3", "Did you mean 'nb_iter'"),
        ("cleverhans:spsa:nb_iter=few", "nb_iter=few, a whole number of 1 or more needed"),
        ("cleverhans:projected_gradient_descent:norm=1", "norm=1, inf or 2 needed"),
        (
            "cleverhans:projected_gradient_descent:epsilon=2",
            r"epsilon 2 given, a number in \[0, 1\]",
        ),
        ("cleverhans:carlini_wagner_l2:epsilon=1", "has no 'epsilon'"),
        ("foolbox:LinfPDG", "Did you mean 'LinfPGD'"),
        ("foolbox:LinfPGD:step=3", "Did you mean 'steps'"),
        ("foolbox:DatasetAttack", "needs images of other classes"),
        (
            "foolbox:InversionAttack:distance=l3",
            "unknown --attacks=foolbox:InversionAttack: distance",
        ),
        ("foolbox:VirtualAdversarialAttack", "needs steps, which has no default"),
        ("foolbox:L1PGD", "epsilon, the radius in l1, is needed"),
        ("foolbox:LinfPGD:epsilon=small", "epsilon=small, a number needed"),
    ],
)
def test_bad_labels_are_one_clear_line(label, message):
    skip_without(label)
    with pytest.raises(UserError, match=message) as caught:
        parse_attack(label)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(
        ("--attacks", "unknown --attacks", label.partition(":epsilon")[0])
    )


def test_a_library_that_is_not_installed_is_named_with_the_command(monkeypatch):
    from tfdefense.attacks.registry import ATTACK_LIBRARIES

    monkeypatch.setitem(ATTACK_LIBRARIES.entries, "art", "no_such_module.art:ArtAttack")
    with pytest.raises(UserError, match=r"no_such_module is not installed.*'\.\[art\]'"):
        parse_attack("art:HopSkipJump")


def test_an_attack_that_needs_more_classes_is_refused_before_it_runs():
    pytest.importorskip("art", reason="tfdefense[art] is not installed")
    from tfdefense.evaluation.attack_plan import require_fitting

    label = "art:AutoProjectedGradientDescent:loss_type=difference_logits_ratio"
    with pytest.raises(UserError, match="needs at least 3 classes; the data has 2"):
        require_fitting([parse_attack(label)], (28, 28, 1), 2)
