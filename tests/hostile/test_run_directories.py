"""Damaged copies of run directories end in one line, whatever the damage is."""

import contextlib
import json
import random

import keras
import pytest
import tensorflow as tf

from tests.experiments.test_config import APEGAN
from tests.hostile.saved_models import SHAPE, Classifier, edit_saved_model, save_harmless_keras_file
from tests.hostile.test_reports import _damage
from tfdefense.classifiers.core.cached_training import read_summary
from tfdefense.errors import UserError
from tfdefense.experiments.load import load_defense, load_experiment
from tfdefense.serving.client.local_client import open_model
from tfdefense.serving.core.class_names import load_class_names, save_class_names
from tfdefense.training.checkpoints import Checkpoints
from tfdefense.training.run_directory import RunDirectory


@pytest.mark.slow
def test_every_damage_of_a_configuration_is_one_line(tmp_path):
    rng, refused = random.Random(0), 0
    path = tmp_path / "config.json"
    for number in range(300):
        content = json.dumps(_damage(json.loads(APEGAN), rng)).encode()
        if number % 3 == 0:
            content = bytearray(APEGAN.encode())
            for _ in range(rng.randint(1, 4)):
                content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            refused += 1
            load_experiment(RunDirectory(tmp_path))
            refused -= 1
    assert refused > 100


@pytest.mark.slow
def test_every_damage_of_a_classifier_is_one_line(tmp_path):
    rng, refused = random.Random(0), 0
    path = tmp_path / "classifier.keras"
    save_harmless_keras_file(path)
    whole = path.read_bytes()
    for number in range(40):
        content = bytearray(whole)
        if number % 2:
            content = content[: rng.randrange(len(content))]
        for _ in range(rng.randint(1, 30)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            refused += 1
            RunDirectory(tmp_path).load_classifier()
            refused -= 1
    assert refused > 20


def test_a_classifier_of_other_classes_is_named(tmp_path):
    (tmp_path / "config.json").write_text(APEGAN)
    inputs = keras.Input(SHAPE)
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    run = RunDirectory(tmp_path)
    run.save_classifier(keras.Model(inputs, logits))
    with pytest.raises(UserError, match=r"gives 3 classes, but config\.json names 10"):
        load_defense(run)


@pytest.mark.parametrize("text", ["[]", "{}", '{"accuracy": "x"}', "\x00"])
def test_a_damaged_summary_is_named(tmp_path, text):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(UserError, match=r"summary\.json: damaged"):
        read_summary(RunDirectory(tmp_path))


def test_other_names_of_checkpoints_are_ignored(tmp_path):
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    for name in ("ckpt-x", "ckpt-", "ckpt-٣", "ckpt-" + "9" * 5000):
        try:
            (checkpoints / f"{name}.index").write_text("")
        except OSError:
            continue
    assert Checkpoints({}, tmp_path).restore() == 0


def test_class_names_of_any_text_survive(tmp_path):
    names = ("", "two\nthree", "four\u2028five", "sechs ü", '"\\', "🦜", "not UTF-8 \udcff", "\x00")
    save_class_names(tmp_path, names)
    assert load_class_names(tmp_path) == names


def test_an_exported_model_that_acts_is_refused(tmp_path):
    model = Classifier()
    tf.saved_model.save(model, str(tmp_path / "1"), signatures=model.serve)

    def act(meta_graph):
        for function in meta_graph.graph_def.library.function:
            if "inference_serve" in function.signature.name:
                function.node_def.add(name="act", op="WriteFile", input=["a", "b"])

    edit_saved_model(tmp_path / "1", act)
    with pytest.raises(UserError, match="contains WriteFile"):
        open_model(tmp_path)
