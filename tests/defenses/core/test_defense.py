import keras
import pytest

from tests.conftest import SHAPE
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import APEGANPlusPlus, BitDepth, compose, get_defense_class
from tfdefense.defenses.ape_gan_pp import APEGANPlusPlusConfig
from tfdefense.errors import UserError


def test_the_settings_in_a_fingerprint_do_not_depend_on_the_name_of_a_config_class(toy_model):
    """Directories on disk are found by fingerprints that contain these texts."""
    settings, networks = APEGANPlusPlus(toy_model, seed=3, lambda2=1.0).defend().identity()
    assert settings == [
        "apeganpp",
        "Config(generator='encoder_decoder', levels=None, widths=(32, 64, 128), thresholds=0,"
        " average=0.0, strengths=None, lambda1=0.5, lambda2=1.0, penalty_weight=10.0,"
        " learning_rate=0.001, schedule='cosine')",
        3,
    ]
    assert list(networks) == ["generator", "classifier"]


def test_the_settings_in_the_fingerprint_of_a_composition_have_all_hyperparameters(toy_model):
    named = get_defense_class("bit_depth+spatial_smoothing")(toy_model, bits=2)
    assert named.defend().identity()[0] == [
        "bit_depth+spatial_smoothing",
        "Config(bits=2, window=None)",
        0,
    ]
    composed = compose(named.parts)
    assert composed.defend().identity()[0] == [
        "bit_depth+spatial_smoothing",
        "namespace(bit_depth_bits=2, spatial_smoothing_window=2)",
        0,
    ]


def test_settings_of_config_json_name_the_defence_its_inputs_and_all_hyperparameters():
    config = APEGANPlusPlusConfig(lambda2=1.0)
    settings = APEGANPlusPlus.settings({"dataset": "digits"}, config, seed=3)
    assert list(settings)[:4] == ["defense", "dataset", "seed", "generator"]
    assert settings["defense"] == "apeganpp"
    assert settings["lambda2"] == 1.0
    assert "epochs" not in settings


def test_hyperparameters_can_be_given_as_a_config(toy_model):
    config = APEGANPlusPlusConfig(lambda2=1.0)
    assert APEGANPlusPlus(toy_model, config=config).config is config
    with pytest.raises(UserError, match=r"apeganpp: config and lambda1 given\. Give one"):
        APEGANPlusPlus(toy_model, config=config, lambda1=3.0)


def test_the_image_shape_of_a_plain_function_must_be_given():
    def classify(images):
        return images[:, 0, :3, 0]

    with pytest.raises(UserError, match="its image shape is unknown"):
        BitDepth(classify)
    assert BitDepth(FrozenClassifier(classify, SHAPE)).has_grey_images


def test_the_image_shape_of_a_model_for_any_size_must_be_given():
    layers = [keras.layers.Conv2D(3, 3), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((None, None, 1)), *layers])
    with pytest.raises(UserError, match=r"its image shape is unknown\. Wrap it"):
        BitDepth(model)
    assert BitDepth(FrozenClassifier(model, SHAPE)).classifier.num_classes == 3
