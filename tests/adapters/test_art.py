"""Attacks of ART through the adapters: the same images and accuracy as with our attacks."""

import numpy as np
import pytest

from tfdefense.attacks import BIM, FGSM

pytest.importorskip("art", reason="tfdefense[art] is not installed")


@pytest.mark.slow
def test_attacks_of_art_on_a_pipeline_equal_ours(defense, toy_split, accuracy):
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


def test_a_purifier_in_front_of_an_art_classifier_equals_our_pipeline(
    defense, toy_model, toy_split
):
    """It has the same logits and the same gradient."""
    from tfdefense.adapters.art import ArtPurifier, art_classifier

    images, labels = toy_split.images, toy_split.labels
    guarded = art_classifier(
        toy_model, toy_split.image_shape, 3, preprocessing_defences=[ArtPurifier(defense)]
    )
    pipeline = art_classifier(defense.defend(), toy_split.image_shape, 3)
    np.testing.assert_allclose(guarded.predict(images), pipeline.predict(images), atol=1e-4)
    one_hot = np.eye(3, dtype=np.float32)[labels[:5]]
    gradients = [model.loss_gradient(images[:5], one_hot) for model in (guarded, pipeline)]
    assert np.abs(gradients[1]).max() > 0
    np.testing.assert_allclose(*gradients, rtol=1e-3, atol=1e-5)
