import functools
import json
import re

import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tfdefense import zoo
from tfdefense.attacks import BIM, FGSM, PGD
from tfdefense.errors import UserError
from tfdefense.networks.surrogates import use_surrogates
from tfdefense.zoo import pretrained as pretrained_module
from tfdefense.zoo.pretrained import (
    MODELS,
    list_pretrained,
    load_pretrained,
    mark_unreliable,
    save_pretrained,
)


@pytest.fixture
def saved(tmp_path, toy_model):
    defense = tfdefense.defenses.APEGAN(toy_model, seed=3)
    save_pretrained(defense, "apegan/toy/cnn", "# card\n", tmp_path)
    return defense, tmp_path


def test_a_saved_purifier_returns_the_same_images_when_loaded(saved, toy_images, toy_model):
    defense, models = saved
    assert list_pretrained(models) == ["apegan/toy/cnn"]
    pretrained = load_pretrained("apegan/toy/cnn", models)
    assert pretrained.card == "# card\n"
    assert "apegan/toy/cnn" in repr(pretrained)
    assert "array" not in repr(pretrained)  # The weights are not printed.
    expected = np.asarray(defense.purify(toy_images[:8]))
    again = pretrained.before(toy_model)
    assert again.trained_with == "cnn"
    np.testing.assert_allclose(again.purify(toy_images[:8]), expected, atol=2e-3)
    np.testing.assert_allclose(pretrained.purify(toy_images[:8]), expected, atol=2e-3)


def test_a_small_classifier_is_included_and_a_large_one_is_not(
    saved, toy_images, toy_model, monkeypatch
):
    defense, models = saved
    classifier = load_pretrained("apegan/toy/cnn", models).classifier()
    np.testing.assert_allclose(classifier(toy_images), toy_model(toy_images), atol=1e-5)
    (models / "apegan" / "toy" / "cnn" / "classifier.keras").write_bytes(b"PK and no more")
    with pytest.raises(UserError, match=r"classifier\.keras: cannot be loaded"):
        load_pretrained("apegan/toy/cnn", models).classifier()
    monkeypatch.setattr(pretrained_module, "_LARGEST_CLASSIFIER", 100)
    save_pretrained(defense, "apegan/toy/large", "", models)
    with pytest.raises(UserError, match="apegan/toy/large: its classifier is too large"):
        load_pretrained("apegan/toy/large", models).classifier()


def test_an_unreliable_purifier_says_so_in_its_card_and_when_it_is_loaded(saved, recwarn):
    models = saved[1]
    assert load_pretrained("apegan/toy/cnn", models).unreliable == ""
    assert not recwarn.list
    reason = "auto_attack leaves 3.0 % (n = 1,000)."
    mark_unreliable("apegan/toy/cnn", reason, models)
    with pytest.warns(UserWarning, match=re.escape(f"its card is unreliable: {reason}")):
        pretrained = load_pretrained("apegan/toy/cnn", models)
    assert pretrained.unreliable == reason
    assert pretrained.card == f"# card\n\n**Unreliable.** {reason}\n"
    with (
        pytest.warns(UserWarning, match="unreliable"),
        pytest.raises(UserError, match="is marked already: auto_attack leaves"),
    ):
        mark_unreliable("apegan/toy/cnn", "Another reason.", models)


def test_a_purifier_is_not_marked_without_a_reason(saved):
    with pytest.raises(UserError, match="REASON: empty"):
        mark_unreliable("apegan/toy/cnn", " ", saved[1])
    assert load_pretrained("apegan/toy/cnn", saved[1]).unreliable == ""


def test_a_classifier_of_other_images_is_rejected(saved):
    with pytest.raises(UserError, match=r"purifies \("):
        load_pretrained("apegan/toy/cnn", saved[1]).before(
            tfdefense.classifiers.FrozenClassifier(lambda x: x[:, 0, 0, :1] * 0, (99, 98, 1))
        )


def test_an_error_suggests_the_nearest_name():
    with pytest.raises(UserError, match="unknown purifier 'apeganpp/mnist/lenett'"):
        zoo.load("apeganpp/mnist/lenett")


@pytest.mark.parametrize("damage", ["weights", "config", "schema", "other"])
def test_an_error_names_damaged_files(saved, toy_model, damage):
    directory = saved[1] / "apegan" / "toy" / "cnn"
    config = json.loads((directory / "config.json").read_text())
    if damage == "weights":
        (directory / "weights.npz").write_bytes(b"PK and no more")
    elif damage == "config":
        (directory / "config.json").write_text("{")
    elif damage == "schema":
        (directory / "config.json").write_text(json.dumps({**config, "schema": 0}))
    else:
        (directory / "config.json").write_text(json.dumps({**config, "defense": "cgan"}))
    with pytest.raises(UserError, match=r"damaged|not those of a cgan|unknown hyperparameter"):
        load_pretrained("apegan/toy/cnn", saved[1]).before(toy_model)


def damage_middle(content):
    middle = len(content) // 2
    return content[:middle] + bytes(16) + content[middle + 16 :]


def change_compression(content):
    """Return a ZIP file whose first entry has an unknown compression, in its central directory."""
    place = content.index(b"PK\x01\x02") + 10
    return content[:place] + b"\x63\x00" + content[place + 2 :]


@pytest.mark.parametrize("written", ["now", "by version 0.2"])
@pytest.mark.parametrize(
    "damage",
    [
        damage_middle,
        change_compression,
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"",
    ],
    ids=["other bytes", "unknown compression", "half", "one byte less", "empty"],
)
def test_an_error_names_a_damaged_file_of_weights(saved, written, damage):
    path = saved[1] / "apegan" / "toy" / "cnn" / "weights.npz"
    if written == "by version 0.2":
        weights = load_pretrained("apegan/toy/cnn", saved[1]).weights
        np.savez_compressed(path, **weights)
        load_pretrained("apegan/toy/cnn", saved[1])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"cnn: damaged \(.*\)\. Install the package again\."):
        load_pretrained("apegan/toy/cnn", saved[1])


def test_a_long_reason_is_wrapped_in_the_card(saved):
    reason = "auto_attack leaves 3.0 % (n = 1,000), and " * 4 + "that is all."
    mark_unreliable("apegan/toy/cnn", reason, saved[1])
    card = (saved[1] / "apegan" / "toy" / "cnn" / "card.md").read_text()
    assert max(map(len, card.splitlines())) <= 100
    assert reason in " ".join(card.split())


# Attacks on the classifier alone that leave less than a quarter of the images of each dataset.
GREY_BOX = {
    "mnist": [FGSM(epsilon=0.3), BIM(epsilon=0.3)],
    "gtsrb": [BIM(epsilon=8 / 255)],
    "cifar10": [BIM(epsilon=8 / 255)],
}


@pytest.fixture(scope="module")
def first_images(shared_data):
    """A function from the name of a dataset to its first 100 test images."""
    return functools.cache(lambda name: tfdefense.data.load(name, shared_data).test.take(100))


def accuracy(model, images, labels):
    return np.mean(np.argmax(model(tf.constant(images)), axis=-1) == labels)


def included_classifier(pretrained):
    """The classifier that it was trained with, or MNIST-CNN if that one is too large."""
    if pretrained.classifier_path is None:
        pretrained = zoo.load("apeganpp/mnist/mnist_cnn")
    return pretrained.classifier()


def clean_accuracy_of_card(pretrained):
    """Accuracy of the pipeline on clean images, the last percentage but for "-" of its row."""
    row = re.search(r"^\| none \(clean\) +\|.*$", pretrained.card, re.MULTILINE).group()
    return float(re.findall(r"([\d.]+)% \[", row)[1]) / 100


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*its card is unreliable")
@pytest.mark.parametrize("name", zoo.names())
def test_a_purifier_has_the_clean_accuracy_of_its_card_and_stops_grey_box_attacks(
    name, first_images
):
    dataset = name.split("/")[1]
    pretrained = zoo.load(name)
    assert "white box" in pretrained.card
    images, labels = first_images(dataset).images, first_images(dataset).labels
    purified = np.asarray(pretrained.purify(images))
    assert purified.shape == images.shape
    assert purified.min() >= 0
    assert purified.max() <= 1
    classifier = included_classifier(pretrained)
    pipeline = pretrained.before(classifier).defend()
    expected = clean_accuracy_of_card(pretrained)
    standard_error = np.sqrt(expected * (1 - expected) / len(images))
    assert accuracy(pipeline, images, labels) > expected - 3 * standard_error
    for attack in GREY_BOX[dataset]:
        adversarial = attack(classifier, images, labels)
        undefended = accuracy(classifier, adversarial, labels)
        assert undefended < 0.25
        assert accuracy(pipeline, adversarial, labels) > undefended + 0.5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*its card is unreliable")
def test_the_robust_purifier_withstands_white_box_pgd_and_apegan_pp_does_not(first_images):
    """The attack uses one surrogate gradient, the one that finds the most alone."""
    images, labels = first_images("mnist").images[:20], first_images("mnist").labels[:20]

    def robust_accuracy(name, *surrogates):
        pretrained = zoo.load(name)
        pipeline = pretrained.before(pretrained.classifier()).defend()
        attack = PGD(epsilon=0.3, steps=10, relative_step_size=0.2)
        with use_surrogates(*surrogates):
            adversarial = attack(pipeline, images, labels)
        return accuracy(pipeline, adversarial, labels)

    assert robust_accuracy("robust_purifier/mnist/mnist_cnn", "softplus_0.3") >= 0.95
    assert robust_accuracy("apeganpp/mnist/mnist_cnn") < 0.5


def test_the_zoo_has_less_than_14_megabytes():
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < 14_000_000


def test_the_robust_purifiers_have_less_than_6_megabytes():
    assert sum(path.stat().st_size for path in MODELS.glob("robust_purifier/**/*.npz")) < 6_000_000
