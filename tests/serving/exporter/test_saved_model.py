"""SavedModels: narrow weights, and what a signature computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.serving.session_model import SessionModel
from tfdefense.defenses import BitDepth
from tfdefense.errors import UserError
from tfdefense.serving import ModelFacts, Variant, export


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "atol"), [("float16", 1e-3), ("bfloat16", 0.05)])
def test_narrow_weights_take_half_the_size_and_agree(
    served_defense, exported, toy_split, precision, atol
):
    variant = Variant(precision=precision, max_batch=16)
    facts = ModelFacts(test_images=toy_split)  # More images than one request may have.
    path = export(served_defense, exported.parents[1] / precision, variant, facts=facts)
    assert "Accuracy of this variant" in (path / "model_card.md").read_text()

    def weights_size(path):
        return (path / "variables" / "variables.data-00000-of-00001").stat().st_size

    assert weights_size(path) < 0.55 * weights_size(exported)
    images = toy_split.images[:16]
    found = SessionModel(path).predict("serving_default", {"images": images})
    expected = np.asarray(served_defense.defend()(images))
    np.testing.assert_allclose(found["logits"], expected, atol=atol)
    assert not np.array_equal(found["logits"], expected)
    assert served_defense.classifier.model.dtype_policy.name == "float32"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signature", "classifies"), [("serving_default", True), ("purify", False)]
)
def test_a_signature_computes_only_its_outputs(exported, toy_images, signature, classifies):
    model = SessionModel(exported)
    definition = model.signatures[signature]
    run = tf.compat.v1.RunMetadata()
    options = tf.compat.v1.RunOptions(output_partition_graphs=True)
    fetches = [output.name for output in definition.outputs.values()]
    feeds = {definition.inputs["images"].name: toy_images}
    model.session.run(fetches, feeds, options=options, run_metadata=run)
    operations = {node.op for graph in run.partition_graphs for node in graph.node}
    assert "Conv2DBackpropInput" in operations  # Of the generator.
    assert bool(operations & {"MatMul", "_FusedMatMul"}) == classifies  # Of the classifier.


def test_weights_that_float16_cannot_hold_are_named(toy_model, tmp_path):
    model = keras.models.clone_model(toy_model)
    model.set_weights([1e8 * weight for weight in toy_model.get_weights()])
    with pytest.raises(UserError, match=r"--precision=float16: .* has weights that are too large"):
        export(BitDepth(model), tmp_path, Variant(precision="float16"))
    assert list(tmp_path.iterdir()) == []
