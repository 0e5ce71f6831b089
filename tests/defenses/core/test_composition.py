import numpy as np
import pytest

from tests.reports import evaluate_without_checks
from tfdefense.attacks import FGSM
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import (
    APEGAN,
    BitDepth,
    MagNet,
    SpatialSmoothing,
    compose,
    get_defense_class,
)
from tfdefense.errors import UserError
from tfdefense.serving import export
from tfdefense.training.run_directory import RunDirectory


def first_pixels(images):
    return images[:, 0, 0, :]


def test_images_pass_the_parts_in_order(toy_model, toy_split):
    bits, median = BitDepth(toy_model, bits=2), SpatialSmoothing(toy_model, window=3)
    for parts in ([bits, median], [median, bits]):
        composition = compose(parts)
        expected = parts[1].purify(parts[0].purify(toy_split.images))
        np.testing.assert_array_equal(composition.purify(toy_split.images), expected)
        np.testing.assert_array_equal(composition.defend()(toy_split.images), toy_model(expected))
    assert compose([bits, median]).name == "bit_depth+spatial_smoothing"


@pytest.mark.slow
def test_a_composition_can_be_evaluated_and_exported(toy_model, toy_split, tmp_path):
    composition = compose([BitDepth(toy_model, bits=2), SpatialSmoothing(toy_model, window=3)])
    report = evaluate_without_checks(composition, toy_split.take(6), [FGSM(epsilon=0.1)])
    assert report.row("bit_depth+spatial_smoothing", "fgsm", "white_box").trained_with == "toy"
    card = (export(composition, tmp_path / "model") / "model_card.md").read_text()
    assert "- bit_depth_bits: 2" in card
    assert "- spatial_smoothing_window: 3" in card


def test_adversarial_training_at_the_end_replaces_the_classifier(toy_model):
    composition = get_defense_class("bit_depth+adversarial_training")(toy_model, inner_steps=1)
    assert composition.replaces_classifier
    assert not get_defense_class("bit_depth+spatial_smoothing")(toy_model).replaces_classifier


def test_a_name_with_plus_creates_the_parts_with_their_hyperparameters(toy_model, toy_split):
    kind = get_defense_class("spatial_smoothing+bit_depth")
    composition = kind(toy_model, bits=3, window=2)
    assert [part.name for part in composition.parts] == ["spatial_smoothing", "bit_depth"]
    assert composition.parts[1].bits == 3
    assert composition.parts[0].config.window == 2
    alone = BitDepth(toy_model, bits=3).purify(composition.parts[0].purify(toy_split.images))
    np.testing.assert_array_equal(composition.purify(toy_split.images), alone)
    with pytest.raises(UserError, match="--bits=9"):
        kind(toy_model, bits=9)
    with pytest.raises(UserError, match="unknown hyperparameter"):
        kind(toy_model, restarts=9)


@pytest.mark.slow
def test_parts_are_trained_together_and_loaded_again(toy_model, toy_split, tmp_path):
    kind = get_defense_class("magnet+bit_depth+apegan")
    given = {"strengths": (0.3,), "bits": 4, "false_positive_rate": 0.1}

    def fitted(seed):
        composition = kind(toy_model, seed, **given)
        return composition.fit(
            toy_split, epochs=1, batch_size=8, validation=toy_split, run=tmp_path / "run"
        )

    composition = fitted(1)
    magnet, bits, apegan = composition.parts
    images = toy_split.images
    expected = apegan.purify(bits.purify(magnet.purify(images)))
    np.testing.assert_array_equal(composition.purify(images), expected)
    assert composition.detects
    np.testing.assert_array_equal(composition.detector_score(images), magnet.detector_score(images))
    again = kind(toy_model, 1, **given)
    again.fit(toy_split, epochs=1, batch_size=8, validation=toy_split, run=tmp_path / "run")
    np.testing.assert_array_equal(again.purify(images), expected)
    np.testing.assert_array_equal(again.detector_score(images), magnet.detector_score(images))
    assert (
        RunDirectory(tmp_path / "run").read_config().settings["defense"]
        == "magnet+bit_depth+apegan"
    )


@pytest.mark.slow
def test_a_purifier_learns_from_images_purified_by_earlier_parts(toy_model, toy_split):
    composition = get_defense_class("bit_depth+apegan")(toy_model, bits=1, strengths=(0.2,))
    seen = {}

    def record(images):
        seen["images"] = images
        return images

    apegan = composition.parts[1]
    preprocess = apegan.preprocess
    apegan.preprocess = lambda images: record(preprocess(images))
    composition.fit(toy_split, epochs=1, batch_size=24)
    assert seen["images"].shape[0] == 24
    values = np.unique(preprocess(toy_split.images))
    np.testing.assert_array_equal(values, [0.0, 1.0])
    alone = APEGAN(toy_model).preprocess(toy_split.images)
    np.testing.assert_array_equal(alone, toy_split.images)


def test_the_default_epochs_are_those_of_the_part_that_needs_most(toy_model, toy_split):
    kind = get_defense_class("magnet+apegan")
    assert kind.default_epochs(toy_split) == MagNet.default_epochs(toy_split)
    kind = get_defense_class("magnet+apeganpp")
    assert kind.default_batch_size(toy_split) == 128
    assert get_defense_class("bit_depth+apeganpp").default_batch_size(toy_split) == 32


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bit_depth+magnet", "magnet refuses unpurified images, so it must come first"),
        ("bit_depth+magnet+apegan", "must come first"),
        ("adversarial_training+bit_depth", "so it must come last"),
        ("bit_depth+bit_depth", "allowed only once"),
        ("bit_depth+apegam", "Did you mean 'apegan'"),
        (
            "bit_depth+",
            r"--defense=bit_depth\+: a defence is missing before or after a '\+'. Known: ",
        ),
        ("apegan++", "Did you mean 'apeganpp'"),
    ],
)
def test_an_error_names_parts_that_cannot_be_combined(name, message):
    with pytest.raises(UserError, match=message):
        get_defense_class(name)


def test_an_error_names_parts_for_different_images(toy_model):
    other = BitDepth(FrozenClassifier(first_pixels, (7, 9, 3)))
    with pytest.raises(UserError, match="images of different shapes"):
        compose([SpatialSmoothing(toy_model), other])
    with pytest.raises(UserError, match="1 defences given, at least 2 are"):
        compose([other])


@pytest.mark.slow
def test_the_logits_are_those_of_adversarial_training_at_the_end(toy_model, toy_split):
    composition = get_defense_class("bit_depth+adversarial_training")(
        toy_model, inner_attack="fgsm", bits=3
    )
    composition.fit(toy_split, epochs=2, batch_size=8)
    network = composition.parts[1].network
    expected = network(composition.parts[0].purify(toy_split.images), training=False)
    np.testing.assert_allclose(composition.defend()(toy_split.images), expected, atol=1e-5)


def test_stored_pairs_are_rejected_if_no_part_learns_from_them(toy_model, toy_split):
    with pytest.raises(UserError, match="no part of --defense=magnet"):
        get_defense_class("magnet+bit_depth")(toy_model).training_arrays(toy_split, ["something"])
