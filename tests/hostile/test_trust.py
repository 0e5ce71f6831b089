"""Models that are trusted: `unsafe=True`, `ExperimentContext.unsafe_load` and `--unsafe_load`."""

import pytest
import tensorflow as tf

from tests.hostile.saved_models import SHAPE, save_keras_file
from tfdefense.classifiers.custom.custom_model import load_custom_model
from tfdefense.cli.main import main
from tfdefense.errors import UserError
from tfdefense.experiments.context import ExperimentContext
from tfdefense.training.run_directory import RunDirectory
from tfdefense.utils.trust import trust_model_files, trusts_model_files


def _read_a_file():
    return tf.raw_ops.ReadFile(filename="/dev/null")


def test_blocks_that_trust_can_be_nested():
    with trust_model_files():
        with trust_model_files(trusted=False):
            assert trusts_model_files()
        with pytest.raises(KeyError), trust_model_files():
            raise KeyError
        assert trusts_model_files()
    assert not trusts_model_files()


def test_a_run_with_a_trusted_classifier_is_resumed(tmp_path):
    """Nothing but the context decides, so a run of another process can be resumed."""
    save_keras_file(tmp_path / "classifier.keras", _read_a_file)
    with ExperimentContext(unsafe_load=True).trust():
        model = RunDirectory(tmp_path).load_classifier()
    assert model(tf.zeros([1, *SHAPE])).shape == (1, 10), "it stays usable after the block"
    with ExperimentContext().trust(), pytest.raises(UserError, match="contains ReadFile"):
        RunDirectory(tmp_path).load_classifier()


def test_a_graph_in_a_trusted_keras_file_may_do_everything(tmp_path, digits):
    save_keras_file(tmp_path / "theirs.keras", _read_a_file)
    classifier = load_custom_model(tmp_path / "theirs.keras", digits, unsafe=True)
    assert classifier.model(digits.test.images[:2]).shape == (2, 10)
    assert not trusts_model_files()


def test_a_command_does_not_leave_trust_behind(tmp_path):
    flags = [f"--input={tmp_path}", f"--output={tmp_path / 'out'}", "--unsafe_load"]
    assert main(["purify", f"--model={tmp_path / 'missing'}", *flags]) == 2
    assert not trusts_model_files()
