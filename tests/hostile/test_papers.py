"""JSON of a paper's store and results that someone else may have written."""

import copy
import json
import os
import random

import pytest

from tests.hostile.test_reports import _damage
from tfdefense.errors import UserError
from tfdefense.papers.curves import _parse_curves
from tfdefense.papers.measurements import _parse_record
from tfdefense.papers.records import versions_and_notes
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import SCHEMA

COUNT = {"correct": 3, "n": 4}
RECORD = {
    "schema": SCHEMA,
    "key": "0123",
    "ours": COUNT,
    "undefended": COUNT,
    "white_box": None,
    "seconds": 1.5,
    "made_with": {"tensorflow": "2.21.0"},
    "images": {"test": "abcd"},
    "note": "a note",
}


@pytest.mark.parametrize(
    "change",
    [
        {"schema": str(SCHEMA)},
        {"schema": True},
        {"key": 1},
        {"ours": {"correct": 5, "n": 4}},
        {"ours": {"correct": -1, "n": 4}},
        {"ours": {"correct": "3", "n": 4}},
        {"ours": {"correct": 3, "n": 4, "x": 1}},
        {"white_box": 0},
        {"seconds": "1"},
        {"made_with": {"tensorflow": 2}},
        {"images": [1]},
        {"note": ["x"]},
    ],
)
def test_a_record_with_another_type_is_measured_again(change):
    assert _parse_record(RECORD) is not None
    assert _parse_record(RECORD | change) is None


def test_every_damage_of_a_record_is_found_or_harmless():
    rng = random.Random(0)
    for _ in range(500):
        damaged = _damage(copy.deepcopy(RECORD), rng)
        if (measurement := _parse_record(damaged)) is not None:
            assert 0 <= measurement.ours.percent <= 100
            versions_and_notes([damaged])


def test_notes_of_records_are_escaped():
    record = RECORD | {"note": "<script>\x1b[31m", "made_with": {"a\u202e": "](javascript:b)"}}
    versions, notes = versions_and_notes([record])
    for text in (versions, *notes):
        assert not {"<", "\x1b", "\u202e"} & set(text)
        assert "](" not in text


@pytest.mark.parametrize("text", ["[]", '{"train": 1}', "[" * 100_000, "{", "\xff", '{"a": NaN}'])
def test_damaged_fingerprints_are_named(tmp_path, text):
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "digits.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"digits\.json: (damaged|cannot be read)"):
        TargetStore(tmp_path)._read_fingerprints("digits")


def test_fingerprints_are_not_read_from_a_fifo(tmp_path):
    (tmp_path / "images").mkdir()
    os.mkfifo(tmp_path / "images" / "digits.json")
    with pytest.raises(UserError, match="a FIFO; a regular file is needed"):
        TargetStore(tmp_path)._read_fingerprints("digits")


def test_curves_are_three_lists_of_equal_length():
    curve = {"passes": [1.0, 2], "values": [0.5, 0.25]}
    curves = {"a": curve, "b": curve, "c": curve}
    assert _parse_curves(json.loads(json.dumps(curves))) == curves
    for damaged in (
        [],
        {"a": curve},
        curves | {"a": {"passes": [1], "values": []}},
        curves | {"a": {"passes": [1], "values": ["x"]}},
        curves | {"a": 1},
    ):
        with pytest.raises(ValueError, match=r"curves|numbers|object"):
            _parse_curves(damaged)
