"""Comparison of a variant with the defence that it was made from."""

import numpy as np
import pytest

from tfdefense.defenses import BitDepth, MagNet
from tfdefense.serving.exporter import variant_accuracy
from tfdefense.serving.exporter.model_card import variant_table
from tfdefense.serving.exporter.signatures import Signatures
from tfdefense.serving.exporter.variant_accuracy import measure_variant_accuracy


class OtherVariant:
    """Model that answers as a defence does, but differently for the first images of each request.

    Args:
      defense: the defence.
      refused_otherwise: number of images whose refusal differs.
      misclassified: number of images whose logits belong to the classes before.
    """

    def __init__(self, defense, refused_otherwise=0, misclassified=0):
        self.signatures = Signatures(defense, max_batch=24)
        self.refused_otherwise, self.misclassified = refused_otherwise, misclassified

    def predict(self, signature, values):
        assert signature == "serving_default"
        outputs = self.signatures.run_pipeline(values)
        outputs = {name: output.numpy() for name, output in outputs.items()}
        if "refused" in outputs:
            outputs["refused"][: self.refused_otherwise] ^= True
        logits = outputs["logits"]
        logits[: self.misclassified] = np.roll(logits[: self.misclassified], 1, axis=-1)
        return outputs


@pytest.fixture
def compare(toy_split, monkeypatch, tmp_path):
    """A function that compares a defence with a variant that differs as `OtherVariant` says."""

    def compare(defense, **changes):
        variant = OtherVariant(defense, **changes)
        monkeypatch.setattr(variant_accuracy, "open_model", lambda _: variant)
        return measure_variant_accuracy(defense, tmp_path, toy_split, max_batch=24)

    return compare


def test_a_variant_of_a_detector_is_also_compared_in_what_it_refuses(
    compare, toy_model, toy_images
):
    defense = MagNet(toy_model)
    scores = np.exp(defense.detector_score(toy_images))
    defense.thresholds.assign(np.full(2, np.median(scores), np.float32))
    found = compare(defense, refused_otherwise=5)
    assert [each.same_class for each in found] == [24, 24]
    assert [each.same_refusal for each in found] == [19, 19]
    header, *rows = variant_table(found)
    assert [row[header.index("same refusal")] for row in rows] == ["19 of 24", "19 of 24"]
    assert len(header) == 6


def test_a_variant_without_a_detector_has_no_refusals(compare, toy_model):
    found = compare(BitDepth(toy_model))
    assert [each.same_refusal for each in found] == [None, None]
    assert "same refusal" not in variant_table(found)[0]


def test_each_accuracy_is_of_its_own_model(compare, toy_model, toy_images):
    defense = BitDepth(toy_model, bits=4)
    clean, _ = compare(defense, misclassified=5)
    assert (clean.defense_correct, clean.variant_correct, clean.same_class) == (24, 19, 19)
    logits = np.asarray(defense.defend()(toy_images[:5]))
    difference = np.max(np.abs(logits - np.roll(logits, 1, axis=-1)))
    assert clean.max_logit_difference == pytest.approx(difference, rel=1e-5)
    _, row, _ = variant_table([clean, clean])
    assert [cell.split()[0] for cell in row] == [
        "clean",
        "100.0%",
        "79.2%",
        "19",
        f"{difference:.2g}",
    ]
    (alike, _) = compare(defense)
    assert (alike.variant_correct, alike.same_class) == (24, 24)
    assert alike.max_logit_difference < 1e-4
