"""Support of exports by OpenVINO and ONNX Runtime, as the model card states it."""

import importlib.util
import re
import sys

import pytest

from tests.soak import other_runtimes as trials
from tfdefense.defenses import DEFENSES
from tfdefense.serving import Variant
from tfdefense.serving.exporter.operations import signature_operations
from tfdefense.serving.exporter.other_runtimes import runtime_support, tried_runtimes
from tfdefense.serving.exporter.runtimes_section import runtimes_section

PLAIN = frozenset({"Conv2D", "MatMul", "Softmax"})


def section_text(operations, precision="float32"):
    return re.sub(" +", " ", "\n".join(runtimes_section(operations, precision)))


def test_each_signature_has_its_own_operations(exported):
    found = signature_operations(exported)
    assert found.keys() == {"serving_default", "purify", "classify", "serving_bytes"}
    assert {"Conv2D", "MatMul", "ArgMax", "Assert"} <= found["classify"]
    # The purifier has transposed convolutions; only serving_bytes decodes; none restores weights.
    assert "Conv2DBackpropInput" in found["purify"] - found["classify"]
    assert "DecodePng" in found["serving_bytes"] - found["serving_default"]
    assert not any("RestoreV2" in operations for operations in found.values())


def test_lacking_and_unknown_operations_are_told_apart():
    assert all(support.agrees for support in runtime_support(PLAIN).values())
    for support in runtime_support(PLAIN | {"Mine", "DecodePng", "Bitcast"}).values():
        assert support.lacking == ("Bitcast", "DecodePng")
        assert support.untried == ("Mine",)
        assert not support.agrees


def test_the_section_has_a_row_for_signatures_with_the_same_support():
    operations = {
        "purify": PLAIN,
        "classify": PLAIN,
        "serving_bytes": PLAIN | {"DecodePng", "Mine"},
    }
    text = section_text(operations)
    assert f"| signatures | {' | '.join(tried_runtimes())} |" in text
    assert "| `classify`, `purify` | agrees | agrees |" in text
    assert text.count("lacks DecodePng; not tried Mine") == 2
    assert "do not check the inputs" in text


def test_bfloat16_is_said_to_be_untried():
    text = section_text({"purify": PLAIN}, "bfloat16")
    assert "were not tried with bfloat16" in text
    assert "agrees" not in text


def test_the_card_of_a_saved_model_has_the_section(exported):
    card = re.sub(" +", " ", (exported / "model_card.md").read_text())
    assert "| `classify`, `purify`, `serving_default` | agrees | agrees |" in card
    assert re.search(r"\| `serving_bytes` \| lacks DecodeJpeg, .*\| lacks DecodeJpeg, ", card)


def test_the_card_of_tflite_has_no_such_section():
    assert runtimes_section({}, Variant("tflite").precision) == []


def test_missing_packages_are_one_line_with_status_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["other_runtimes"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        trials.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        "openvino, tf2onnx, onnxruntime missing. Install with: pip install openvino tf2onnx onnxruntime\n"
    )


def test_settings_name_defences():
    """A renamed defence would fail after minutes."""
    assert {*trials.SMALL, *trials.IN_COLOUR} <= set(DEFENSES.names())
    assert set(trials.GREY_CLASSIFIERS) <= set(trials.CLASSIFIERS.names())
