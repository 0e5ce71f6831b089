"""Comparison of a variant with the defence that it was made from."""

import numpy as np
import pytest

from tfdefense.defenses import BitDepth, MagNet
from tfdefense.serving.exporter import variant_accuracy
from tfdefense.serving.exporter.model_card import variant_table
from tfdefense.serving.exporter.signatures import Signatures
from tfdefense.serving.exporter.variant_accuracy import measure_variant_accuracy


class OtherVariant:
    """Model that answers as a defence does, but decides otherwise about refusing some images.

    Args:
      defense: the defence.
      changed: number of images at the start of each request whose refusal differs.
    """

    def __init__(self, defense, changed):
        self.signatures = Signatures(defense, max_batch=24)
        self.changed = changed

    def predict(self, signature, values):
        assert signature == "serving_default"
        outputs = self.signatures.run_pipeline(values)
        outputs = {name: output.numpy() for name, output in outputs.items()}
        if "refused" in outputs:
            outputs["refused"][: self.changed] ^= True
        return outputs


@pytest.fixture
def compare(toy_split, monkeypatch, tmp_path):
    """A function that compares a defence with a variant that refuses 5 images otherwise."""

    def compare(defense):
        monkeypatch.setattr(variant_accuracy, "open_model", lambda _: OtherVariant(defense, 5))
        return measure_variant_accuracy(defense, tmp_path, toy_split, max_batch=24)

    return compare


def test_a_variant_of_a_detector_is_also_compared_in_what_it_refuses(
    compare, toy_model, toy_images
):
    defense = MagNet(toy_model)
    scores = np.exp(defense.detector_score(toy_images))
    defense.thresholds.assign(np.full(2, np.median(scores), np.float32))
    found = compare(defense)
    assert [each.same_class for each in found] == [24, 24]
    assert [each.same_refusal for each in found] == [19, 19]
    header, *rows = variant_table(found)
    assert [row[header.index("same refusal")] for row in rows] == ["19 of 24", "19 of 24"]
    assert len(header) == 6


def test_a_variant_without_a_detector_has_no_refusals(compare, toy_model):
    found = compare(BitDepth(toy_model))
    assert [each.same_refusal for each in found] == [None, None]
    assert "same refusal" not in variant_table(found)[0]
