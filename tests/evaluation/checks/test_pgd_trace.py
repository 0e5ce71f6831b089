import numpy as np
import pytest
import tensorflow as tf

from tfdefense.attacks import BIM, PGD
from tfdefense.evaluation.checks.pgd_trace import PGDRun, PGDTracer


@pytest.fixture(scope="module")
def tracer(toy_model):
    return PGDTracer(toy_model)


@pytest.mark.slow
def test_trace_has_the_losses_of_bim_and_the_images_that_it_fools(tracer, toy_model, toy_split):
    images, labels = tf.constant(toy_split.images), tf.constant(toy_split.labels)
    trace = tracer.run(toy_split, PGDRun(epsilon=0.2, step_size=0.05, steps=7))
    for steps in (1, 7):
        attack = BIM(epsilon=0.2, relative_step_size=0.25, steps=steps)
        attacked = attack(toy_model, images, labels)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, toy_model(attacked))
        np.testing.assert_allclose(trace.losses[steps], losses, rtol=1e-4, atol=1e-5)
        wrong = np.argmax(toy_model(attacked), -1) != toy_split.labels
        np.testing.assert_array_equal(trace.fooled[steps], wrong)
    np.testing.assert_allclose(trace.last, attacked, atol=1e-6)
    assert not np.any(trace.no_gradient)


def test_start_0_is_that_of_the_attack(tracer, toy_model, toy_split):
    run = PGDRun(epsilon=0.2, step_size=0.2 / 30, steps=3, start=0)
    attack = PGD(epsilon=0.2, steps=3)
    attacked = attack(toy_model, toy_split.images, toy_split.labels)
    np.testing.assert_allclose(tracer.run(toy_split, run).last, attacked, atol=1e-6)


def test_an_image_stops_at_success_and_the_others_go_the_same_way(tracer, toy_split):
    run = PGDRun(epsilon=0.1, step_size=0.02, steps=12, start=1)
    on_the_way = tracer.run(toy_split, run).fooled.any(axis=0)
    assert 0 < on_the_way.sum() < 24
    np.testing.assert_array_equal(tracer.fooled(toy_split, run), on_the_way)


def test_all_runs_and_batches_share_one_trace(toy_model, toy_split):
    traces = []

    def model(images):
        traces.append(None)
        return toy_model(images)

    tracer = PGDTracer(model, batch_size=10)  # The last of three batches is smaller.
    tracer.run(toy_split, PGDRun(0.2, 0.05, 2))
    first = len(traces)
    tracer.run(toy_split.take(7), PGDRun(0.1, 0.05, 3, start=2, margin_loss=True))
    tracer.fooled(toy_split, PGDRun(0.1, 0.05, 1))
    assert len(traces) == first
