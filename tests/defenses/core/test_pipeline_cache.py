"""`defend` returns one object for each state of a defence and its classifier."""

import copy
import pickle

import keras
import pytest

import tfdefense
from tests.conftest import SHAPE, make_toy_model
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import DEFENSES
from tfdefense.defenses.core.pipeline_cache import PipelineCache
from tfdefense.training.mixed_precision import compute_in


@pytest.fixture
def defense(toy_model):
    return tfdefense.defenses.APEGANPlusPlus(toy_model)


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("apeganpp", {"mirror": True}),
        ("magnet", {}),
        ("robust_purifier", {"inner_attack": "nfgsm"}),
    ],
)
def test_training_and_loading_weights_keep_the_pipeline(name, given, toy_model, toy_split):
    defense = DEFENSES.get(name)(toy_model, **given)
    pipeline = defense.defend()
    assert defense.defend() is pipeline
    defense.fit(toy_split, 1, toy_split, batch_size=12)
    for network in defense.networks().values():
        network.set_weights([0.5 * each for each in network.get_weights()])
    assert defense.defend() is pipeline
    assert defense.defend(defense.classifier) is pipeline
    assert defense.defend(defense.classifier.model) is pipeline


@pytest.mark.parametrize(
    "change",
    [
        lambda defense: setattr(defense, "generator", copy_of(defense.generator)),
        lambda defense: setattr(defense, "classifier", FrozenClassifier(make_toy_model(), SHAPE)),
        lambda defense: setattr(defense, "seed", 12_345),
        lambda defense: setattr(defense, "strength", [0.1, 0.2]),
    ],
    ids=["network", "classifier", "seed", "new attribute"],
)
def test_an_assigned_attribute_gives_another_pipeline(defense, change):
    before = defense.defend()
    change(defense)
    after = defense.defend()
    assert after is not before
    assert defense.defend() is after


def copy_of(network):
    return keras.models.clone_model(network) if hasattr(network, "layers") else type(network)()


def test_a_pipeline_of_bfloat16_layers_is_another_one(defense):
    pipeline = defense.defend()
    with compute_in([defense.generator], "bfloat16"):
        assert defense.defend() is not pipeline
    assert defense.defend() is pipeline


def test_a_part_of_a_composition_belongs_to_its_state(toy_model):
    parts = [tfdefense.defenses.BitDepth(toy_model), tfdefense.defenses.APEGANPlusPlus(toy_model)]
    composition = tfdefense.defenses.compose(parts)
    pipeline = composition.defend()
    assert composition.defend() is pipeline
    parts[1].generator = copy_of(parts[1].generator)
    assert composition.defend() is not pipeline


def test_each_classifier_has_its_pipeline(defense):
    other = FrozenClassifier(make_toy_model(), SHAPE)
    pipelines = [defense.defend(), defense.defend(other)]
    assert pipelines[0] is not pipelines[1]
    assert [defense.defend(), defense.defend(other)] == pipelines
    assert pipelines[1].classifier is other


def test_a_copied_cache_is_empty():
    cache = PipelineCache()
    assert cache.get([1], lambda: "pipeline") == "pipeline"
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert other.get([1], lambda: "another") == "another"
