"""Full disk: every writer raises one clear error, leaves no partial file, and succeeds later."""

import contextlib
import os
import subprocess

import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tests.conftest import make_toy_model
from tfdefense.attacks import BIM, FGSM
from tfdefense.attacks.core.adversarial_dataset_maker import (
    AdversarialStorage,
    make_adversarial_dataset,
)
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import APEGANPlusPlus
from tfdefense.errors import UserError, WorkFailedError
from tfdefense.evaluation.protocol import EvaluationConfig
from tfdefense.evaluation.run_evaluation import evaluate_run, load_finished_report
from tfdefense.serving import export
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.training.summaries import SummaryWriter

FULL = (OSError, UserError, WorkFailedError)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Mount a file system of 40 MB."""
    place = tmp_path_factory.mktemp("small")
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small file system here (mounting needs root)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def full(place, leave=0):
    """Fill the file system except for `leave` bytes, until the block ends."""
    filler = place / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 14)):
            pass
    os.truncate(filler, max(0, filler.stat().st_size - leave))
    try:
        yield
    finally:
        filler.unlink()


def message_of_full_disk(error):
    assert "No space left on device" in str(error.value)
    return str(error.value)


def test_a_run_directory_is_not_created(small):
    run = RunDirectory(small / "new")
    config = StoredConfig("defense", {"seed": 0})
    with full(small), pytest.raises(UserError) as error:
        run.create_or_reuse(config)
    assert str(small / "new") in message_of_full_disk(error)
    assert not run.exists()
    run.create_or_reuse(config)
    assert run.read_config().settings == {"seed": 0}


def test_a_classifier_is_not_saved_in_part(small):
    run = RunDirectory(small / "classifier")
    run.path.mkdir()
    with full(small), pytest.raises(WorkFailedError) as error:
        run.save_classifier(make_toy_model())
    assert "classifier.keras" in message_of_full_disk(error)
    assert list(run.path.iterdir()) == []
    run.save_classifier(make_toy_model())
    assert run.load_classifier().name == "toy"


@pytest.mark.slow
def test_training_resumes_from_its_last_checkpoint(small, toy_split):
    def fit(run, validate=None):
        defense = APEGANPlusPlus(make_toy_model(), strengths=(0.2,))
        if validate:
            defense.make_validator = lambda validation: validate
        defense.fit(toy_split, 4, toy_split, batch_size=8, run=run, steps_per_loop=1)
        return defense.generator.get_weights()

    calls = []

    def fill():
        calls.append(1)
        if len(calls) == 3:
            stack.enter_context(full(small, leave=3_000_000))
        return {}, {}

    def eager(self):
        original(self)
        object.__setattr__(self, "checkpoint_seconds", 0.0)

    loop = tfdefense.training.LoopConfig
    original = loop.__post_init__
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(loop, "__post_init__", eager)
        with pytest.raises(WorkFailedError) as error:
            fit(small / "run", fill)
    assert "checkpoint at step 9 not written" in message_of_full_disk(error)
    assert not list((small / "run" / "checkpoints").glob("*temp*"))
    resumed, uninterrupted = fit(small / "run"), fit(None)
    for value, expected in zip(resumed, uninterrupted, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_event_files_name_the_reason(small):
    def write(summaries):
        with summaries:
            for step in range(30):
                picture = np.random.default_rng(step).random((64, 64, 1))
                summaries.write_images("grid", {"one": picture}, step)

    with full(small), pytest.raises(WorkFailedError) as error:
        SummaryWriter(small / "events")
    assert message_of_full_disk(error) == "event file not written: No space left on device."
    writer = SummaryWriter(small / "events")
    with full(small), pytest.raises(WorkFailedError) as error:
        write(writer)
    message_of_full_disk(error)


@pytest.mark.slow
def test_adversarial_images_are_made_afterwards(small, toy_split, toy_model):
    def craft():
        model = FrozenClassifier(toy_model, toy_split.image_shape)
        storage = AdversarialStorage(batch_size=8, output=small / "adv")
        return make_adversarial_dataset(model, toy_split, BIM(steps=2), storage)

    with full(small, leave=24_000), pytest.raises(FULL) as error:
        craft()
    message_of_full_disk(error)
    assert not list((small / "adv").rglob("*.partial"))
    assert len(craft().success) == len(toy_split)


@pytest.mark.slow
def test_a_report_and_an_export_are_written_afterwards(small, toy_split, toy_model):
    run = RunDirectory(small / "evaluated")
    defense = APEGANPlusPlus(toy_model, strengths=(0.2,))
    defense.fit(toy_split, 1, batch_size=8, run=run)
    data = tfdefense.data.Dataset("toy", toy_split, toy_split, toy_split)
    config = EvaluationConfig(
        epsilon=0.1, attacks=("fgsm",), images=4, white_box_images=2, checks=("none",)
    )
    with full(small), pytest.raises(FULL) as error:
        evaluate_run(run, defense, data, config, small / "runs")
    message_of_full_disk(error)
    assert load_finished_report(run, config) is None
    with full(small), pytest.raises(UserError) as error:
        export(defense, run.path / "export")
    message_of_full_disk(error)
    assert list((run.path / "export").iterdir()) == []
    evaluate_run(run, defense, data, config, small / "runs")
    assert load_finished_report(run, config) is not None
    served = tf.saved_model.load(export(defense, run.path / "export"))
    assert "serving_default" in served.signatures
    assert FGSM.name in (run.path / "report.md").read_text()
