from types import SimpleNamespace
from typing import ClassVar

import keras
import pytest
import tensorflow as tf

from tests.conftest import SHAPE
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import APEGAN, APEGANPlusPlus
from tfdefense.defenses.core.copy_weights import copy_weights
from tfdefense.defenses.core.training_inputs import TrainingData
from tfdefense.errors import UserError
from tfdefense.training import LoopConfig
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.run_files import require_original_files


def test_fit_passes_loop_options_to_the_loop(toy_split):
    loop = APEGAN.loop_config(
        toy_split, 3, batch_size=8, seed=5, mixed_precision="bfloat16", steps_per_loop=2
    )
    assert loop == LoopConfig(3, 8, 5, "bfloat16", 2)
    assert APEGAN.loop_config(toy_split) == LoopConfig(APEGAN.default_epochs(toy_split))


def test_an_unknown_option_of_fit_is_an_error(toy_model, toy_split):
    with pytest.raises(TypeError, match="batchsize"):
        APEGAN(toy_model).fit(toy_split, epochs=1, batchsize=8)


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
def test_fit_and_run_training_write_the_same_settings(toy_model, toy_split, tmp_path):
    defense = APEGAN(toy_model, seed=3)
    defense.fit(toy_split, epochs=1, batch_size=24, run=str(tmp_path / "fit"))
    settings = RunDirectory(tmp_path / "fit").read_config().settings
    assert settings["dataset"] == "toy"
    assert settings["classifier"] == "toy"
    assert settings["seed"] == 3
    run = RunDirectory(tmp_path / "run")
    loop = LoopConfig(1, batch_size=24, seed=3)
    APEGAN(toy_model, seed=3).run_training(TrainingData(toy_split), loop, settings, run)
    assert run.read_config().settings == settings
    assert run.load_classifier().name == "toy"


def test_a_run_directory_stores_one_seed(toy_model, toy_split, tmp_path):
    with pytest.raises(UserError, match="seed=3: the defence was made with seed=2"):
        APEGAN(toy_model, seed=2).fit(toy_split, epochs=1, seed=3, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_arrays_are_computed_in_the_precision_of_the_steps(toy_model, toy_split):
    seen = []

    class Recording(APEGAN):
        def training_arrays(self, train, pairs):
            seen.append([layer.compute_dtype for layer in toy_model.layers])
            return super().training_arrays(train, pairs)

        def make_validator(self, validation):
            seen.append([layer.compute_dtype for layer in toy_model.layers])
            return lambda: ({}, {})

    options = {"batch_size": 24, "mixed_precision": "bfloat16"}
    Recording(toy_model).fit(toy_split, epochs=1, validation=toy_split, **options)
    assert {*seen[0]} == {"float32"}
    assert {*seen[1]} == {"bfloat16"}
    assert {layer.compute_dtype for layer in toy_model.layers} == {"float32"}


@pytest.mark.usefixtures("short_training")
def test_fit_writes_the_hashes_that_a_killed_call_did_not(toy_model, toy_split, tmp_path):
    def fit():
        APEGAN(toy_model).fit(toy_split, epochs=1, batch_size=24, run=run)

    run = RunDirectory(tmp_path / "run")
    fit()
    written = run.hashes_path.read_text()
    run.hashes_path.unlink()
    fit()
    assert run.hashes_path.read_text() == written
    run.classifier_path.unlink()
    fit()
    assert run.hashes_path.is_file()
    require_original_files(run)  # Of the classifier as it was saved again.
    (run.path / "checkpoints/ckpt-1.index").write_bytes(b"")
    with pytest.raises(UserError, match=r"ckpt-1\.index is not the file"):
        fit()


def test_weights_of_other_shapes_cannot_be_copied(toy_model):
    with pytest.raises(UserError, match="--init_run: network generator of that apegan differs"):
        copy_weights(APEGAN(toy_model, thresholds=3), APEGAN(toy_model))


def test_blocks_are_named_if_weights_cannot_be_copied(toy_model):
    given = {"generator": "residual_unet", "widths": (4, 8)}
    with pytest.raises(
        UserError, match="--generator, --levels, --widths, --blocks and --thresholds"
    ):
        copy_weights(APEGAN(toy_model, **given, blocks=(1, 1)), APEGAN(toy_model, **given))


def test_large_images_have_smaller_batches():
    large = SimpleNamespace(image_shape=(224, 224, 3))
    assert APEGAN.loop_config(large, 1).batch_size == 16
    assert APEGAN.loop_config(large, 1, batch_size=32).batch_size == 32


@keras.saving.register_keras_serializable("tests")
class DtypeRecorder(keras.layers.Layer):
    """A layer that records the dtype of its inputs each time that it is traced."""

    recorded: ClassVar[set[str]] = set()

    def call(self, inputs):
        self.recorded.add(tf.as_dtype(inputs.dtype).name)
        return inputs


@pytest.mark.usefixtures("short_training")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_frozen_classifier_computes_in_the_precision_of_the_training_only(
    toy_model, toy_split, precision
):
    classifier = keras.Sequential([keras.Input(SHAPE), DtypeRecorder(), toy_model])
    defense = APEGANPlusPlus(classifier)
    assert defense.frozen_networks == [classifier]
    DtypeRecorder.recorded.clear()
    defense.fit(toy_split, epochs=1, batch_size=24, mixed_precision=precision)
    assert precision in DtypeRecorder.recorded
    DtypeRecorder.recorded.clear()
    defense.defend()(toy_split.images[:2])
    assert DtypeRecorder.recorded == {"float32"}


def test_a_classifier_that_is_a_function_is_not_a_frozen_network(toy_model):
    def classify(images):
        return toy_model(images)

    assert APEGAN(FrozenClassifier(classify, SHAPE)).frozen_networks == []


@pytest.mark.usefixtures("short_training")
def test_a_run_is_not_resumed_in_front_of_another_classifier(toy_model, toy_split, tmp_path):
    run, options = tmp_path / "run", {"epochs": 1, "batch_size": 24}
    APEGAN(toy_model).fit(toy_split, run=run, **options)
    retrained = keras.models.clone_model(toy_model)
    retrained.set_weights([1.5 * weight for weight in toy_model.get_weights()])
    with pytest.raises(UserError, match=r"in front of a classifier with other weights\. Give the"):
        APEGAN(retrained).fit(toy_split, run=run, **options)
    retrained.set_weights(toy_model.get_weights())
    APEGAN(retrained).fit(toy_split, run=run, **options)
