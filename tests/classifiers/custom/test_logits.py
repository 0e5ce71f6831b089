import numpy as np
import tensorflow as tf

from tfdefense.classifiers.custom.logits import LogarithmOfProbabilities


def test_the_logarithm_of_probabilities_inverts_a_softmax():
    logits = np.array([[0.0, 5.0, -80.0], [3.0, 3.0, 3.0]], np.float32)
    back = tf.nn.softmax(LogarithmOfProbabilities()(tf.nn.softmax(logits))).numpy()
    np.testing.assert_allclose(back, tf.nn.softmax(logits), rtol=1e-6)
    assert np.all(np.isfinite(LogarithmOfProbabilities()(tf.constant([[1.0, 0.0]]))))
