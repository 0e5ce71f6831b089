import pytest

from tfdefense.attacks import PGD, CarliniWagnerL2, DeepFool
from tfdefense.evaluation import ThreatModels
from tfdefense.evaluation.report.report_notes import report_notes


@pytest.mark.parametrize(
    ("attacks", "notes"),
    [
        (
            [PGD(), CarliniWagnerL2(), DeepFool(norm="linf")],
            ("worst_case leaves out attacks without a radius: cw, deepfool:norm=linf.",),
        ),
        ([CarliniWagnerL2(), DeepFool()], ()),
        ([PGD()], ()),
    ],
)
def test_attacks_that_the_worst_case_leaves_out_are_named(bit_depth, toy_split, attacks, notes):
    assert report_notes(bit_depth, toy_split, attacks, ThreatModels()) == notes
