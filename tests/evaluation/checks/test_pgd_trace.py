import numpy as np
import tensorflow as tf

from tfdefense.attacks import BIM
from tfdefense.evaluation.checks.pgd_trace import PGDParameters, trace_pgd


def test_trace_has_the_losses_of_bim_and_the_images_that_it_fools(toy_model, toy_split):
    images, labels = tf.constant(toy_split.images), tf.constant(toy_split.labels)
    parameters = PGDParameters(
        epsilon=tf.constant(0.2),
        step_size=tf.constant(0.05),
        steps=tf.constant(7),
        start=tf.constant(0),
    )
    trace = trace_pgd(toy_model, images, labels, parameters)
    for steps in (1, 7):
        attack = BIM(epsilon=0.2, relative_step_size=0.25, steps=steps)
        attacked = attack(toy_model, images, labels)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, toy_model(attacked))
        np.testing.assert_allclose(trace.losses[steps], losses, rtol=1e-4, atol=1e-5)
    wrong = np.argmax(toy_model(attacked), -1) != toy_split.labels
    assert np.all((trace.fooled_at.numpy() <= 7) >= wrong)
    assert not np.any(trace.no_gradient)
