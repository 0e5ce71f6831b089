"""Other toolboxes' attacks through ours: the same images, and the same accuracy, as our own attack gives."""

import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tfdefense.attacks import BIM, FGSM

art = pytest.importorskip("art", reason="tfdefense[art] is not installed")


@pytest.fixture(scope="module")
def purifier(toy_model, toy_split):
    """Trained for a moment, so that it lets a part of each image through."""
    defense = tfdefense.defenses.APEGANPlusPlus(toy_model)
    return defense.fit(toy_split, epochs=20, batch_size=24)


@pytest.fixture(scope="module", params=["apeganpp", "bit_depth"])
def defense(request, purifier, toy_model):
    return {"apeganpp": purifier, "bit_depth": tfdefense.defenses.BitDepth(toy_model, bits=2)}[
        request.param
    ]


def accuracy(model, images, labels):
    return np.mean(np.argmax(model(tf.constant(images)), -1) == labels)


def test_arts_attack_on_the_whole_is_ours(defense, toy_split):
    from art.attacks.evasion import BasicIterativeMethod, FastGradientMethod

    from tfdefense.adapters.art import art_classifier

    model, images, labels = defense.defend(), toy_split.images, toy_split.labels
    classifier = art_classifier(model, toy_split.image_shape, 3)
    np.testing.assert_allclose(classifier.predict(images), model(images), atol=1e-5)
    theirs = FastGradientMethod(classifier, eps=0.2).generate(images, labels)
    ours = FGSM(epsilon=0.2)(model, images, labels)
    np.testing.assert_allclose(np.mean(np.abs(theirs - ours) > 1e-6), 0, atol=0.01)
    attack = BasicIterativeMethod(classifier, eps=0.2, eps_step=0.05, max_iter=10, verbose=False)
    theirs = attack.generate(images, labels)
    ours = BIM(epsilon=0.2, relative_step_size=0.25, steps=10)(model, images, labels)
    assert accuracy(model, theirs, labels) == accuracy(model, ours, labels)
    assert accuracy(model, theirs, labels) < accuracy(model, images, labels)


def test_a_purifier_guards_a_classifier_of_arts(defense, toy_model, toy_split):
    """As a preprocessor it gives the same logits and the same gradient as our pipeline."""
    from tfdefense.adapters.art import ArtPurifier, art_classifier

    images, labels = toy_split.images, toy_split.labels
    guarded = art_classifier(
        toy_model, toy_split.image_shape, 3, preprocessing_defences=[ArtPurifier(defense)]
    )
    whole = art_classifier(defense.defend(), toy_split.image_shape, 3)
    np.testing.assert_allclose(guarded.predict(images), whole.predict(images), atol=1e-4)
    one_hot = np.eye(3, dtype=np.float32)[labels[:5]]
    one = [model.loss_gradient(images[:5], one_hot) for model in (guarded, whole)]
    assert np.abs(one[1]).max() > 0
    np.testing.assert_allclose(*one, rtol=1e-3, atol=1e-5)


def test_foolboxes_attack_on_the_whole_is_ours(defense, toy_split):
    foolbox = pytest.importorskip("foolbox", reason="tfdefense[foolbox] is not installed")

    from tfdefense.adapters.foolbox import foolbox_model

    model, images = defense.defend(), tf.constant(toy_split.images)
    labels = toy_split.labels
    attack = foolbox.attacks.LinfBasicIterativeAttack(
        rel_stepsize=0.25, steps=10, random_start=False
    )
    _, theirs, _ = attack(foolbox_model(model), images, tf.constant(labels, tf.int64), epsilons=0.2)
    ours = BIM(epsilon=0.2, relative_step_size=0.25, steps=10)(model, images, labels)
    assert accuracy(model, theirs, labels) == accuracy(model, ours, labels)
