import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tests.conftest import SHAPE
from tfdefense.errors import UserError
from tfdefense.serving import export


@pytest.fixture
def defense(toy_model):
    return tfdefense.defenses.APEGANPlusPlus(toy_model)


def saved_model_cli(*arguments):
    """TensorFlow's own tool, in a process of its own: the session loader, which TF Serving uses."""
    script = Path(sys.executable).with_name("saved_model_cli")
    return subprocess.run([script, *arguments], capture_output=True, text=True, check=True).stdout


def test_the_loader_of_tf_serving_reads_it_and_agrees(defense, toy_images, tmp_path):
    path = export(defense, tmp_path / "export")
    assert path == tmp_path / "export" / "1"
    np.save(tmp_path / "images.npy", toy_images)
    common = ["run", "--dir", path, "--tag_set", "serve"]
    given = ["--inputs", f"images={tmp_path / 'images.npy'}", "--outdir", tmp_path, "--overwrite"]
    saved_model_cli(*common, "--signature_def", "serving_default", *given)
    purified = np.asarray(defense.purify(toy_images))
    logits = np.asarray(defense.defend()(toy_images))
    expected = {
        "purified": purified,
        "logits": logits,
        "probabilities": tf.nn.softmax(logits).numpy(),
        "classes": logits.argmax(-1),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), value, atol=1e-5)
        (tmp_path / f"{name}.npy").unlink()
    saved_model_cli(*common, "--signature_def", "purify", *given)
    np.testing.assert_allclose(np.load(tmp_path / "purified.npy"), purified, atol=1e-5)
    assert not (tmp_path / "logits.npy").exists()


def test_signatures_are_named_and_take_any_batch(defense, toy_images, tmp_path):
    loaded = tf.saved_model.load(str(export(defense, tmp_path)))
    assert set(loaded.signatures) >= {"serving_default", "purify"}
    serve = loaded.signatures["serving_default"]
    assert set(serve.structured_outputs) == {"purified", "logits", "probabilities", "classes"}
    for count in (1, 5):
        assert serve(images=tf.constant(toy_images[:count]))["purified"].shape == (count, *SHAPE)


def test_versions_go_up_and_nothing_partial_is_left(defense, tmp_path):
    (tmp_path / "7").mkdir()
    assert export(defense, tmp_path).name == "8"
    assert export(defense, tmp_path).name == "9"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7", "8", "9"]


def test_what_cannot_be_exported_is_named(tmp_path):
    def brightness(images):
        return images[:, 0, 0, :] * [[1.0, 2.0, -3.0]]

    frozen = tfdefense.classifiers.FrozenClassifier(brightness, SHAPE)
    with pytest.raises(UserError, match="'brightness' is not a Keras model"):
        export(tfdefense.defenses.APEGANPlusPlus(frozen), tmp_path)


def test_unwritable_output_is_named(defense, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"--output=.*file.*cannot be written"):
        export(defense, tmp_path / "file" / "export")
