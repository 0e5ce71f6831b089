import json

import keras
import numpy as np
import pytest

import tfdefense
from tfdefense import zoo
from tfdefense.errors import UserError
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.experiments import train
from tfdefense.training.run_directory import RunDirectory
from tfdefense.zoo import pretrained as pretrained_module
from tfdefense.zoo.build import add_run, main
from tfdefense.zoo.pretrained import MODELS, load, names, save_pretrained


@pytest.fixture
def saved(tmp_path, toy_model):
    defense = tfdefense.defenses.APEGAN(toy_model, seed=3)
    save_pretrained(defense, "apegan/toy/cnn", "# what it withstands\n", tmp_path)
    return defense, tmp_path


def test_what_is_saved_purifies_alike(saved, toy_images, toy_model):
    defense, models = saved
    assert names(models) == ["apegan/toy/cnn"]
    pretrained = load("apegan/toy/cnn", models)
    assert pretrained.card == "# what it withstands\n"
    assert "apegan/toy/cnn" in repr(pretrained)
    assert "array" not in repr(pretrained)  # Weights would flood a notebook.
    expected = np.asarray(defense.purify(toy_images[:8]))
    again = pretrained.before(toy_model)
    assert again.trained_with == "cnn"
    np.testing.assert_allclose(again.purify(toy_images[:8]), expected, atol=2e-3)
    np.testing.assert_allclose(pretrained.purify(toy_images[:8]), expected, atol=2e-3)


def test_a_small_classifier_comes_along_and_a_large_one_does_not(
    saved, toy_images, toy_model, monkeypatch
):
    defense, models = saved
    classifier = load("apegan/toy/cnn", models).classifier()
    np.testing.assert_allclose(classifier(toy_images), toy_model(toy_images), atol=1e-5)
    (models / "apegan" / "toy" / "cnn" / "classifier.keras").write_bytes(b"PK and no more")
    with pytest.raises(UserError, match=r"classifier\.keras: cannot be loaded"):
        load("apegan/toy/cnn", models).classifier()
    monkeypatch.setattr(pretrained_module, "_LARGEST_CLASSIFIER", 100)
    save_pretrained(defense, "apegan/toy/large", "", models)
    with pytest.raises(UserError, match="apegan/toy/large: its classifier is too large"):
        load("apegan/toy/large", models).classifier()


def test_another_classifier_of_other_images_is_refused(saved):
    with pytest.raises(UserError, match=r"purifies \("):
        load("apegan/toy/cnn", saved[1]).before(
            tfdefense.classifiers.FrozenClassifier(lambda x: x[:, 0, 0, :1] * 0, (99, 98, 1))
        )


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UserError, match="unknown purifier 'apeganpp/mnist/lenett'"):
        zoo.load("apeganpp/mnist/lenett")


@pytest.mark.parametrize("damage", ["weights", "config", "schema", "other"])
def test_damaged_files_are_named(saved, toy_model, damage):
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
        load("apegan/toy/cnn", saved[1]).before(toy_model)


@pytest.mark.parametrize("name", zoo.names())
def test_what_comes_with_the_package_does_what_its_card_says(name, shared_data):
    """On MNIST, before nothing: purified digits stay close to the clean ones, and small files stay small."""
    pretrained = zoo.load(name)
    images = tfdefense.data.load("mnist", shared_data).test.take(200).images
    purified = np.asarray(pretrained.purify(images))
    assert purified.shape == images.shape
    assert purified.min() >= 0
    assert purified.max() <= 1
    # What withstands an attacker who knows it draws the digits anew, 0.112 away; the others clean them.
    near = 0.12 if pretrained.defense == "robust_purifier" else 0.1
    assert np.mean((purified - images) ** 2) < near * np.mean(images**2)
    assert "white box" in pretrained.card


def test_all_of_it_is_small():
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < 5_000_000


def test_a_run_with_a_report_is_put_in_and_one_without_is_not(tmp_path, digits, capsys):
    layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
    toy = keras.Sequential([keras.Input((28, 28, 1)), *layers], name="toy")
    toy.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    toy.fit(digits.train.images, digits.train.labels, epochs=5, verbose=0)
    toy.save(tmp_path / "toy.keras")
    given = {
        "defense": "apegan",
        "dataset": "digits",
        "classifier": str(tmp_path / "toy.keras"),
        "epochs": 1,
        "train_images": 128,
    }
    run = RunDirectory(tmp_path / "run")
    judging = EvaluationConfig(images=20, white_box_images=5, attacks=("fgsm",))
    train.train(given, run=run, judging=judging, runs_dir=tmp_path)
    models = tmp_path / "models"
    assert add_run(run, models) == "apegan/digits/toy"
    pretrained = load("apegan/digits/toy", models)
    images = digits.test.take(30).images
    expected = train.load_defense(run).purify(images)
    np.testing.assert_allclose(pretrained.purify(images), expected, atol=2e-3)
    assert "| fgsm 0.3 |" in pretrained.card
    assert "apegan, white box" in pretrained.card
    assert "1 passes over the first 128 training images" in pretrained.card
    assert "of 360 times" in pretrained.card
    (run.path / "report.json").unlink()
    assert main([str(run.path)]) == 2
    assert "no report in it; bin/evaluate makes one" in capsys.readouterr().err


def test_build_of_nothing_says_so(capsys):
    assert main([]) == 2
    assert "RUN: one or more run directories needed" in capsys.readouterr().err
