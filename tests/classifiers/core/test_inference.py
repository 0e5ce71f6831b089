import numpy as np

from tests.conftest import make_toy_model
from tfdefense.classifiers.core.inference import compile_inference, predict_logits


def test_many_models_and_a_smaller_last_batch_warn_of_no_retracing(toy_split, tensorflow_log):
    for _ in range(6):  # TensorFlow warns from the fifth trace of a function on.
        model = make_toy_model()
        logits = predict_logits(compile_inference(model), toy_split, batch_size=10)
        np.testing.assert_allclose(logits, model(toy_split.images), atol=1e-5)
    assert not [message for message in tensorflow_log if "retracing" in message]


def test_model_is_traced_once_and_its_new_weights_are_used(toy_split):
    model = make_toy_model()
    infer = compile_inference(model)
    before = predict_logits(infer, toy_split)
    model.layers[-1].bias.assign_add([1.0, 0.0, 0.0])
    after = predict_logits(infer, toy_split)
    np.testing.assert_allclose(after - before, [[1.0, 0.0, 0.0]] * 24, atol=1e-5)
