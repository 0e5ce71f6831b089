"""SavedModels: narrow weights, and what a signature computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.serving.session_model import SessionModel
from tfdefense.defenses import BitDepth
from tfdefense.errors import UserError
from tfdefense.serving import ModelFacts, Variant, export


def assert_card_compares(path, labels, found, expected):
    """Check the row of clean images in the model card; `found` are the logits of the variant."""
    lines = (path / "model_card.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("| clean")]
    _, *cells, same, difference = (cell.strip() for cell in line.strip("| ").split("|"))
    for cell, logits in zip(cells, (expected, found), strict=True):
        assert cell.split()[0] == f"{np.mean(logits.argmax(-1) == labels):.1%}"
    assert same == f"{np.sum(found.argmax(-1) == expected.argmax(-1))} of 24"
    assert float(difference) == pytest.approx(np.max(np.abs(found - expected)), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "atol"), [("float16", 1e-3), ("bfloat16", 0.05)])
def test_narrow_weights_take_half_the_size_and_agree(
    served_defense, exported, toy_split, precision, atol
):
    variant = Variant(precision=precision, max_batch=16)
    facts = ModelFacts(test_images=toy_split)  # More images than one request may have.
    path = export(served_defense, exported.parents[1] / precision, variant, facts=facts)

    def weights_size(path):
        return (path / "variables" / "variables.data-00000-of-00001").stat().st_size

    assert weights_size(path) < 0.55 * weights_size(exported)
    model = SessionModel(path)
    parts = toy_split.images[:16], toy_split.images[16:]
    outputs = [model.predict("serving_default", {"images": images}) for images in parts]
    found = np.concatenate([each["logits"] for each in outputs])
    expected = np.asarray(served_defense.defend()(toy_split.images))
    np.testing.assert_allclose(found, expected, atol=atol)
    assert not np.array_equal(found, expected)
    assert_card_compares(path, toy_split.labels, found, expected)
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
