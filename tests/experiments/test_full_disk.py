"""Everything that is written, on a disk that is full: a clear line, nothing half-written, and on it goes afterwards."""

import contextlib
import os
import subprocess

import numpy as np
import pytest
import tensorflow as tf

import tfdefense
from tests.conftest import make_toy_model
from tfdefense.attacks import BIM, FGSM
from tfdefense.attacks.core.adversarial_dataset import AdversarialStorage, make_adversarial_dataset
from tfdefense.classifiers import FrozenClassifier
from tfdefense.defenses import APEGANPlusPlus
from tfdefense.errors import UserError, WorkFailedError
from tfdefense.evaluation import protocol
from tfdefense.evaluation.protocol import EvaluationConfig, evaluate_run
from tfdefense.serving import export
from tfdefense.training.run_directory import RunDirectory
from tfdefense.training.stored_config import StoredConfig
from tfdefense.training.summaries import SummaryWriter

FULL = (OSError, UserError, WorkFailedError)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file system of 40 MB."""
    place = tmp_path_factory.mktemp("small")
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small file system to be had here (mounting needs root)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def full(place, leave=0):
    """Within it no more than `leave` bytes can be written there."""
    filler = place / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 14)):
            pass
    os.truncate(filler, max(0, filler.stat().st_size - leave))
    try:
        yield
    finally:
        filler.unlink()


def says_full(error):
    assert "No space left on device" in str(error.value)
    return str(error.value)


def test_a_run_directory(small):
    run = RunDirectory(small / "begun")
    config = StoredConfig("defense", {"seed": 0})
    with full(small), pytest.raises(UserError) as error:
        run.create_or_reuse(config)
    assert str(small / "begun") in says_full(error)
    assert not run.exists()
    run.create_or_reuse(config)
    assert run.read_config().settings == {"seed": 0}


def test_a_classifier(small):
    run = RunDirectory(small / "classifier")
    run.path.mkdir()
    with full(small), pytest.raises(WorkFailedError) as error:
        run.save_classifier(make_toy_model())
    assert "classifier.keras" in says_full(error)
    assert list(run.path.iterdir()) == []
    run.save_classifier(make_toy_model())
    assert run.load_classifier().name == "toy"


def test_a_training_goes_on_from_its_last_checkpoint(small, toy_split):
    def fit(run, watch=None):
        defense = APEGANPlusPlus(make_toy_model(), strengths=(0.2,))
        if watch:
            defense.make_validator = lambda validation: watch
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
    assert "checkpoint at step 9 not written" in says_full(error)
    assert not list((small / "run" / "checkpoints").glob("*temp*"))
    resumed, unbroken = fit(small / "run"), fit(None)
    for mine, theirs in zip(resumed, unbroken, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_event_files(small):
    def write(summaries):
        with summaries:
            for step in range(30):
                picture = np.random.default_rng(step).random((64, 64, 1))
                summaries.write_images("grid", {"one": picture}, step)

    with full(small), pytest.raises(WorkFailedError) as error:
        SummaryWriter(small / "events")
    assert says_full(error) == "event file not written: No space left on device."
    begun = SummaryWriter(small / "events")
    with full(small), pytest.raises(WorkFailedError) as error:
        write(begun)
    says_full(error)


def test_adversarial_examples(small, toy_split, toy_model):
    def craft():
        model = FrozenClassifier(toy_model, toy_split.image_shape)
        storage = AdversarialStorage(batch_size=8, output=small / "adv")
        return make_adversarial_dataset(model, toy_split, BIM(steps=2), storage)

    with full(small, leave=24_000), pytest.raises(FULL) as error:
        craft()
    says_full(error)
    assert not list((small / "adv").rglob("*.partial"))
    assert len(craft().success) == len(toy_split)


def test_a_report_and_an_export(small, toy_split, toy_model):
    run = RunDirectory(small / "judged")
    defense = APEGANPlusPlus(toy_model, strengths=(0.2,))
    defense.fit(toy_split, 1, batch_size=8, run=run)
    data = tfdefense.data.Dataset("toy", toy_split, toy_split, toy_split)
    how = EvaluationConfig(epsilon=0.1, attacks=("fgsm",), images=4, white_box_images=2)
    with full(small), pytest.raises(FULL) as error:
        evaluate_run(run, defense, data, how, small / "runs")
    says_full(error)
    assert protocol.load_finished_report(run, how) is None
    with full(small), pytest.raises(UserError) as error:
        export(defense, run.path / "export")
    says_full(error)
    assert list((run.path / "export").iterdir()) == []
    evaluate_run(run, defense, data, how, small / "runs")
    assert protocol.load_finished_report(run, how) is not None
    served = tf.saved_model.load(export(defense, run.path / "export"))
    assert "serving_default" in served.signatures
    assert FGSM.name in (run.path / "report.md").read_text()
