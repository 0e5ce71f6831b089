"""Curves of a training from event files, which may be damaged or of a stranger."""

import os

import numpy as np
import pytest
import tensorflow as tf

from tfdefense.evaluation.report.training_curves import load_training_curves
from tfdefense.training.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path):
    """A run with two scalars and an array in its event files."""
    with tf.summary.create_file_writer(str(tmp_path / "events")).as_default():
        for step, loss in ((1, 0.5), (2, 0.25)):
            tf.summary.scalar("train/loss_mse", loss, step)
            tf.summary.write("train/array", tf.ones([3]), step)
            tf.summary.scalar("other/loss", loss, step)
    return RunDirectory(tmp_path)


def test_scalars_are_read_by_tag(run):
    curves = load_training_curves(run)
    assert list(curves) == ["train/loss_mse"]
    steps, values = curves["train/loss_mse"]
    np.testing.assert_array_equal(steps, [1, 2])
    np.testing.assert_array_equal(values, np.array([0.5, 0.25], np.float32))


def test_scalar_that_says_it_is_large_needs_no_memory(tmp_path):
    shape = tf.TensorShape([2**40]).as_proto()
    proto = tf.make_tensor_proto(1.0)
    proto.tensor_shape.CopyFrom(shape)
    value = tf.compat.v1.Summary.Value(tag="train/loss_mse", tensor=proto)
    value.metadata.data_class = 1
    event = tf.compat.v1.Event(step=1, summary=tf.compat.v1.Summary(value=[value]))
    (tmp_path / "events").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "events" / "events.out.tfevents.1")) as writer:
        writer.write(event.SerializeToString())
    assert load_training_curves(RunDirectory(tmp_path)) == {}


def test_files_that_cannot_be_read_are_one_line(run, capsys):
    os.mkfifo(run.path / "events" / "events.out.tfevents.9")
    assert load_training_curves(run) == {}
    line = capsys.readouterr().out
    assert line.startswith("No figure of the training: ")
    assert "events.out.tfevents.9: a FIFO; a regular file is needed" in line
