"""Version directories that an export writes, and exports that fail."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf

import tfdefense
from tests.conftest import SHAPE
from tests.serving.conftest import CLASS_NAMES
from tfdefense.defenses import get_defense_class
from tfdefense.errors import UserError
from tfdefense.serving import ModelFacts, Variant, export, open_model
from tfdefense.serving.core.class_names import load_class_names


def test_class_names_are_an_asset(exported):
    assert json.loads((exported / "assets" / "class_names.json").read_text()) == list(CLASS_NAMES)
    loaded = tf.saved_model.load(str(exported))
    assert loaded.class_names.asset_path.numpy().decode().endswith("class_names.json")


def test_another_number_of_class_names_is_refused(small_defense, tmp_path):
    message = "2 class names given; the classifier 'toy' has 3 classes"
    with pytest.raises(UserError, match=message):
        export(small_defense, tmp_path / "model", facts=ModelFacts(("a", "b")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_class_names_of_any_text_reach_client_and_card(small_defense, tmp_path):
    names = ("", 'line\nbreak "|"', "Füße 🦜 <b>\udcff")
    path = export(small_defense, tmp_path, facts=ModelFacts(names))
    assert open_model(path).class_names == names
    card = (path / "model_card.md").read_text(encoding="utf-8")
    expected = (
        'Classes: 0 is "", 1 is line break "|", 2 is Füße 🦜 &lt;b>\\udcff (`class_names.json`).'
    )
    assert expected in card


@pytest.mark.parametrize("text", ["", "{}", "[1]", '["a"', "\0"])
def test_a_damaged_file_of_class_names_is_named(tmp_path, text):
    (tmp_path / "class_names.json").write_text(text)
    with pytest.raises(UserError, match=r"class_names\.json: damaged"):
        load_class_names(tmp_path)


def test_class_names_of_older_exports_are_read(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "class_names.txt").write_text("one\nzwölf\n", encoding="utf-8")
    assert load_class_names(tmp_path) == ("one", "zwölf")


@pytest.mark.slow
def test_versions_count_up_and_no_partial_directory_is_left(small_defense, tmp_path, monkeypatch):
    (tmp_path / "7").mkdir()
    assert export(small_defense, tmp_path).name == "8"
    assert export(small_defense, tmp_path, version=12).name == "12"
    monkeypatch.chdir(tmp_path)
    thirteenth = export(small_defense, ".")
    assert thirteenth == Path("13")
    card = thirteenth.joinpath("model_card.md").read_text()
    assert card.startswith(f"# {tmp_path.name}, version 13")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["12", "13", "7", "8"]


@pytest.mark.slow
def test_formats_do_not_share_a_directory(small_defense, tmp_path):
    export(small_defense, tmp_path)
    with pytest.raises(UserError, match="not of --format=tflite"):
        export(small_defense, tmp_path, Variant("tflite"))
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.slow
def test_the_files_of_a_killed_export_are_removed_after_a_day(small_defense, tmp_path):
    old, new, other = ".tfdefense-export-abcd_123", ".tfdefense-export-abcd_124", "partial-weights"
    for name, age in ((old, 25 * 3600), (new, 3600), (other, 25 * 3600)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    export(small_defense, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [new, "1", other]


@pytest.mark.slow
def test_an_interrupted_export_leaves_no_files(small_defense, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        sys.modules["tfdefense.serving.exporter.export"], "save_warmup_requests", interrupt
    )
    with pytest.raises(KeyboardInterrupt):
        export(small_defense, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_exports_into_one_directory_do_not_mix_their_files(small_defense, tmp_path, monkeypatch):
    """In containers that share a disk, all processes may have the number 1."""

    def write_another(*_):
        export(small_defense, tmp_path, Variant("tflite"), version=2)

    monkeypatch.setattr(
        sys.modules["tfdefense.serving.exporter.export"], "save_warmup_requests", write_another
    )
    first = export(small_defense, tmp_path, version=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert (first / "saved_model.pb").is_file()
    assert not (first / "model.tflite").exists()
    names = {path.name for path in (tmp_path / "2").iterdir()}
    assert names == {"class_names.json", "model.tflite", "model_card.md"}


@pytest.mark.slow
def test_the_slower_of_two_exports_takes_the_next_version(small_defense, tmp_path, monkeypatch):
    faster = []

    def write_another(*arguments):
        if not faster:
            faster.append(True)
            faster.append(export(small_defense, tmp_path))
        return False

    monkeypatch.setattr(
        sys.modules["tfdefense.serving.exporter.export"], "save_warmup_requests", write_another
    )
    slower = export(small_defense, tmp_path)
    assert (faster[1].name, slower.name) == ("1", "2")
    assert f"{tmp_path.name}, version 2" in (slower / "model_card.md").read_text()
    faster.clear()
    with pytest.raises(UserError, match="--version=3: exists in"):
        export(small_defense, tmp_path, version=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3"]


@pytest.mark.slow
def test_a_detector_keeps_the_classifier_that_another_defence_replaces(toy_model, tmp_path):
    """MagNet compares outputs of the original classifier, which is not the one that decides."""
    kind = get_defense_class("magnet+adversarial_training")
    path = export(kind(toy_model, temperatures=(10.0,)), tmp_path)
    assert (path / "saved_model.pb").is_file()


@pytest.mark.slow
def test_other_users_may_read_an_export(small_defense, tmp_path):
    (tmp_path / "usual").mkdir()
    path = export(small_defense, tmp_path / "model")
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (7, "--version=7: exists in "),
        (0, "--version=0: a number from 1 to "),
    ],
)
def test_unusable_version_numbers_are_rejected(small_defense, tmp_path, version, message):
    (tmp_path / "7").mkdir()
    with pytest.raises(UserError, match=message):
        export(small_defense, tmp_path, version=version)


def test_a_classifier_that_is_not_a_keras_model_is_rejected(tmp_path):
    def brightness(images):
        return images[:, 0, 0, :] * [[1.0, 2.0, -3.0]]

    frozen = tfdefense.classifiers.FrozenClassifier(brightness, SHAPE)
    with pytest.raises(UserError, match="'brightness' is not a Keras model"):
        export(tfdefense.defenses.APEGANPlusPlus(frozen), tmp_path)


def test_an_unwritable_directory_is_rejected(small_defense, tmp_path):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(UserError, match=r"--output=.*file.*cannot be written"):
        export(small_defense, tmp_path / "file" / "export")
