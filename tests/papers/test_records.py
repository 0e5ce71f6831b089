"""Records of measured cells."""

from tfdefense.papers.records import versions_and_notes


def test_versions_and_notes_of_all_records_are_merged():
    records = [
        {"made_with": {"keras": "3.1"}, "note": ""},
        {"made_with": {"keras": "3.2", "numpy": "2.4"}, "note": "JPEG."},
        {"made_with": {"keras": "3.1"}},  # An older record, without a note.
    ]
    assert versions_and_notes(records) == ("keras 3.1 and 3.2, numpy 2.4", ["JPEG."])
