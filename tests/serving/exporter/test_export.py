import io
import os
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

import tfdefense
from tests.conftest import SHAPE
from tests.serving.stand_in import SessionModel
from tfdefense.attacks import FGSM
from tfdefense.data.core.resizing import resized
from tfdefense.defenses import DEFENSES
from tfdefense.errors import UserError
from tfdefense.evaluation.runner import ModelRunner
from tfdefense.serving import Variant, export, open_model


def png(image):
    return tf.io.encode_png(np.uint8(np.round(255 * image))).numpy()


def test_encoded_images_are_answered_as_the_same_arrays_are(exported, toy_images):
    model = open_model(exported)
    arrays = np.float32(np.round(255 * toy_images) / 255)
    wanted = model.predict("serving_default", arrays)
    found = model.predict("serving_bytes", np.array([png(x) for x in toy_images], object))
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1"])
def test_other_modes_are_understood(exported, toy_images, mode, tmp_path):
    pixels = np.uint8(np.round(255 * (toy_images[0, ..., 0] > 0.5)))
    Image.fromarray(pixels).convert(mode).save(tmp_path / "image", "PNG")
    encoded = np.array([(tmp_path / "image").read_bytes()], object)
    model = open_model(exported)
    found = model.predict("serving_bytes", encoded)
    wanted = model.predict("serving_default", np.float32(pixels[None, ..., None] / 255))
    np.testing.assert_allclose(found["logits"], wanted["logits"], atol=1e-5)


def test_encoded_images_are_resized_as_training_images_are(exported):
    large = np.random.default_rng(0).integers(0, 256, (1, 30, 25, 1), np.uint8)
    small = resized(large, SHAPE[:2])
    model = open_model(exported)
    found = model.predict("serving_bytes", np.array([tf.io.encode_png(large[0]).numpy()], object))
    wanted = model.predict("serving_default", np.float32(small / 255))
    np.testing.assert_allclose(found["purified"], wanted["purified"], atol=1e-6)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda encoded: encoded[: len(encoded) // 2], "Invalid PNG data"),
        (
            lambda encoded: b"not an image",
            "image_bytes: 12 bytes given that are neither PNG nor JPEG",
        ),
        (lambda encoded: b"", "image_bytes: 0 bytes given"),
    ],
)
def test_damaged_encoded_images_are_refused(exported, toy_images, spoilt, said):
    good = png(toy_images[0])
    with pytest.raises(UserError, match=said):
        open_model(exported).predict("serving_bytes", np.array([good, spoilt(good)], object))


@pytest.mark.parametrize(("size", "fits"), [((4096, 4096), True), ((4097, 4096), False)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_small_files_of_huge_images_are_refused(exported, size, fits, kind):
    file = io.BytesIO()
    Image.new("L", size).save(file, kind)
    encoded = np.array([file.getvalue()], object)
    if fits:
        assert open_model(exported).predict("serving_bytes", encoded)["classes"].shape == (1,)
        return
    with pytest.raises(UserError, match="an image of 16781312 pixels given, at most 16777216"):
        open_model(exported).predict("serving_bytes", encoded)


def test_any_batch_is_taken(exported, toy_images):
    model = open_model(exported)
    for count in (1, 5):
        answers = model.predict("serving_default", toy_images[:count])
        assert answers["purified"].shape == (count, *SHAPE)
        assert answers["classes"].shape == (count,)
    with pytest.raises(UserError, match="images: 0 given, 1 to 4096 in one request"):
        model.predict("serving_default", toy_images[:0])


def test_class_names_are_an_asset(exported):
    assert (exported / "assets" / "class_names.txt").read_text() == "up\nmiddle\ndown\n"
    loaded = tf.saved_model.load(str(exported))
    assert loaded.class_names.asset_path.numpy().decode().endswith("class_names.txt")


def test_warm_up_requests_are_answered(exported):
    model = SessionModel(exported)
    asked = set()
    records = tf.data.TFRecordDataset(str(exported / "assets.extra/tf_serving_warmup_requests"))
    for record in records.as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == "apeganpp"
        given = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        model.predict(request.model_spec.signature_name, given)
        (values,) = given.values()
        asked.add((request.model_spec.signature_name, len(values)))
    names = ("serving_default", "purify", "classify", "serving_bytes")
    assert asked == {(name, size) for name in names for size in (1, 8, 32)}


@pytest.mark.parametrize(("precision", "atol"), [("float16", 1e-3), ("bfloat16", 0.05)])
def test_narrow_weights_are_half_the_size_and_agree(
    served_defense, exported, toy_images, precision, atol, tmp_path
):
    path = export(served_defense, tmp_path, Variant(precision=precision))

    def size(path):
        return (path / "variables" / "variables.data-00000-of-00001").stat().st_size

    assert size(path) < 0.55 * size(exported)
    found = SessionModel(path).predict("serving_default", {"images": toy_images})
    wanted = np.asarray(served_defense.defend()(toy_images))
    np.testing.assert_allclose(found["logits"], wanted, atol=atol)
    assert not np.array_equal(found["logits"], wanted)
    assert served_defense.classifier.model.dtype_policy.name == "float32"


@pytest.mark.parametrize(
    ("precision", "atol"), [("float32", 1e-4), ("float16", 0.01), ("int8", 0.3)]
)
def test_tflite_agrees_and_checks(served_defense, toy_images, precision, atol, tmp_path):
    path = export(served_defense, tmp_path, Variant("tflite", precision))
    assert {each.name for each in path.iterdir()} == {
        "model.tflite",
        "class_names.txt",
        "model_card.md",
    }
    model = open_model(tmp_path)
    found = model.predict("serving_default", toy_images)
    wanted = np.asarray(served_defense.defend()(toy_images))
    np.testing.assert_allclose(found["logits"], wanted, atol=atol)
    bytes_too = model.predict("serving_bytes", np.array([png(x) for x in toy_images], object))
    np.testing.assert_allclose(bytes_too["logits"], wanted, atol=atol + 0.05)
    with pytest.raises(UserError, match=r"\[0, 1\] needed"):
        model.predict("serving_default", 255 * toy_images)


def test_the_card_says_what_was_measured(served_defense, toy_split, tmp_path):
    report = tfdefense.evaluate(served_defense, toy_split, attacks=(FGSM(epsilon=0.2),))
    path = export(
        served_defense, tmp_path / "bars", report=report, class_names=("up", "middle", "down")
    )
    card = (path / "model_card.md").read_text()
    row = report.row("apeganpp", "fgsm", "white_box")
    for needed in (
        "# bars, version 1",
        report.summary,
        "white box",
        f"{row.accuracy:.1%}",
        "0 is up",
        "lambda1",
    ):
        assert needed in card
    bare = (export(served_defense, tmp_path / "bars") / "model_card.md").read_text()
    assert "has not been attacked" in bare


def test_the_card_of_a_variant_says_what_it_keeps(served_defense, toy_split, tmp_path):
    path = export(served_defense, tmp_path, Variant("tflite", "int8"), test=toy_split)
    card = (path / "model_card.md").read_text()
    judge = ModelRunner(served_defense.defend())
    right = np.mean(judge.predict(toy_split) == toy_split.labels)
    assert f"| clean | {right:.1%} [" in card
    assert "fgsm 0.3, grey box" in card
    assert "of 24" in card


def test_versions_go_up_and_nothing_partial_is_left(served_defense, tmp_path):
    (tmp_path / "7").mkdir()
    assert export(served_defense, tmp_path).name == "8"
    assert export(served_defense, tmp_path, version=12).name == "12"
    assert export(served_defense, tmp_path).name == "13"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["12", "13", "7", "8"]


def test_formats_do_not_share_a_directory(served_defense, tmp_path):
    export(served_defense, tmp_path)
    with pytest.raises(UserError, match="not of --format=tflite"):
        export(served_defense, tmp_path, Variant("tflite"))
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_what_a_killed_export_left_is_removed_a_day_later(served_defense, tmp_path):
    for name, age in (("partial-1", 25 * 3600), ("partial-2", 3600)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    export(served_defense, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "partial-2"]


def test_an_export_that_breaks_off_leaves_nothing(served_defense, tmp_path, monkeypatch):
    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        sys.modules["tfdefense.serving.exporter.export"], "save_warmup_requests", broken
    )
    with pytest.raises(KeyboardInterrupt):
        export(served_defense, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"version": 7}, "--version=7: is in .* already"),
        ({"version": 0}, "--version=0: at least 1 needed"),
    ],
)
def test_version_numbers_that_will_not_do(served_defense, tmp_path, given, said):
    (tmp_path / "7").mkdir()
    with pytest.raises(UserError, match=said):
        export(served_defense, tmp_path, **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"format": "tflight"}, "unknown --format 'tflight'. Did you mean 'tflite'"),
        ({"precision": "int8"}, "--precision=int8: one of float32, float16, bfloat16 needed"),
        ({"format": "tflite", "precision": "bfloat16"}, "one of float32, float16, int8 needed"),
        ({"max_batch": 0}, "--max_batch=0: at least 1 needed"),
    ],
)
def test_variants_that_will_not_do(given, said):
    with pytest.raises(UserError, match=said):
        Variant(**given)


def test_what_cannot_be_exported_is_named(tmp_path):
    def brightness(images):
        return images[:, 0, 0, :] * [[1.0, 2.0, -3.0]]

    frozen = tfdefense.classifiers.FrozenClassifier(brightness, SHAPE)
    with pytest.raises(UserError, match="'brightness' is not a Keras model"):
        export(tfdefense.defenses.APEGANPlusPlus(frozen), tmp_path)


def test_unwritable_output_is_named(served_defense, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"--output=.*file.*cannot be written"):
        export(served_defense, tmp_path / "file" / "export")


def test_a_model_of_something_else_is_named(tmp_path):
    with pytest.raises(UserError, match="no such directory"):
        open_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no exported model.*bin/export"):
        open_model(tmp_path)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.export(tmp_path / "1", verbose=False)
    with pytest.raises(UserError, match=r"not a model of bin/export: its serving_default takes"):
        open_model(tmp_path)
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "saved_model.pb").write_bytes(b"junk")
    with pytest.raises(UserError, match="2: cannot be loaded"):
        open_model(tmp_path)
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "model.tflite").write_bytes(b"junk")
    with pytest.raises(UserError, match="3: cannot be loaded"):
        open_model(tmp_path)


_NOT_IN_TFLITE = ("defense_gan", "denoised_smoothing", "total_variation")


@pytest.mark.parametrize("name", sorted(set(DEFENSES.names()) - {"apeganpp"}))
@pytest.mark.parametrize(
    "variant", [Variant(), Variant(precision="bfloat16"), Variant("tflite")], ids=str
)
def test_every_defence_in_every_form(name, variant, toy_model, toy_images, tmp_path):
    quick = {"defense_gan": {"restarts": 2, "search_steps": 5}, "denoised_smoothing": {"votes": 2}}
    defense = DEFENSES.get(name)(toy_model, **quick.get(name, {}))
    if variant.format == "tflite" and name in _NOT_IN_TFLITE:
        with pytest.raises(UserError, match=f"--format=tflite: {name} cannot be converted:"):
            export(defense, tmp_path, variant)
        assert list(tmp_path.iterdir()) == []
        return
    path = export(defense, tmp_path, variant)
    if variant.format == "tflite":
        found = open_model(path).predict("serving_default", toy_images)
    else:
        found = SessionModel(path).predict("serving_default", {"images": toy_images})
    assert ("refused" in found) == defense.detects
    wanted = np.asarray(defense.defend()(toy_images))
    np.testing.assert_allclose(
        found["logits"], wanted, atol=1e-4 if variant.precision == "float32" else 0.05
    )
