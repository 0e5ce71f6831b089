"""SavedModels with narrow weights, and the SavedModel and TFLite variants of every defence."""

import numpy as np
import pytest

from tests.serving.fake_server import SessionModel
from tfdefense.defenses import DEFENSES
from tfdefense.errors import UserError
from tfdefense.serving import Variant, export, open_model

_QUICK_OPTIONS = {
    "defense_gan": {"restarts": 2, "search_steps": 5},
    "denoised_smoothing": {"votes": 2},
}
_NOT_IN_TFLITE = ("defense_gan", "denoised_smoothing", "total_variation")


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "atol"), [("float16", 1e-3), ("bfloat16", 0.05)])
def test_narrow_weights_take_half_the_size_and_agree(
    served_defense, exported, toy_images, precision, atol
):
    path = export(served_defense, exported.parents[1] / precision, Variant(precision=precision))

    def weights_size(path):
        return (path / "variables" / "variables.data-00000-of-00001").stat().st_size

    assert weights_size(path) < 0.55 * weights_size(exported)
    found = SessionModel(path).predict("serving_default", {"images": toy_images})
    expected = np.asarray(served_defense.defend()(toy_images))
    np.testing.assert_allclose(found["logits"], expected, atol=atol)
    assert not np.array_equal(found["logits"], expected)
    assert served_defense.classifier.model.dtype_policy.name == "float32"


_SLOW = ("cgan", "defense_gan", "denoised_smoothing")


def names_of_other_defences():
    """Return the names of all defences but that of the other tests; three of them are slow."""
    return [
        pytest.param(name, marks=pytest.mark.slow) if name in _SLOW else name
        for name in sorted(set(DEFENSES.names()) - {"apeganpp"})
    ]


@pytest.fixture(scope="module", params=names_of_other_defences())
def defense(request, toy_model):
    """An untrained defence, with few steps."""
    options = _QUICK_OPTIONS.get(request.param, {})
    return DEFENSES.get(request.param)(toy_model, **options)


@pytest.fixture(scope="module")
def expected_logits(defense, toy_images):
    return np.asarray(defense.defend()(toy_images))


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant", [Variant(), Variant(precision="bfloat16"), Variant("tflite")], ids=str
)
def test_every_defence_is_exported_in_every_form(
    defense, expected_logits, variant, toy_images, tmp_path
):
    if variant.format == "tflite" and defense.name in _NOT_IN_TFLITE:
        message = f"--format=tflite: {defense.name} cannot be converted:"
        with pytest.raises(UserError, match=message):
            export(defense, tmp_path, variant)
        assert list(tmp_path.iterdir()) == []
        return
    path = export(defense, tmp_path, variant)
    if variant.format == "tflite":
        found = open_model(path).predict("serving_default", toy_images)
    else:
        found = SessionModel(path).predict("serving_default", {"images": toy_images})
    assert ("refused" in found) == defense.detects
    atol = 1e-4 if variant.precision == "float32" else 0.05
    np.testing.assert_allclose(found["logits"], expected_logits, atol=atol)
