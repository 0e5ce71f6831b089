"""Helpers for tests that compare a training step with the paper's equations, written out."""

import numpy as np
import tensorflow as tf


def prepared(kind, classifier, **hyperparameters):
    """Return a defence with initial weights and new optimizers."""
    defense = kind(classifier, **hyperparameters)
    defense.prepare(steps=10)
    return defense


def log_sigmoid(logits):
    return -tf.nn.softplus(-logits)


def assert_same_variables(ours, theirs, rtol, atol):
    """Compare the variables of two optimizers or networks."""
    for a, b in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=a.path)
