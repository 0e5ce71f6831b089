import pytest

from tfdefense.evaluation.checks import probe_progress
from tfdefense.evaluation.checks.probe_progress import ProbeProgress


@pytest.fixture
def bars(monkeypatch):
    """Totals of the bars that are made, each with what it was advanced by."""
    made = []

    class RecordedBar:
        def __init__(self, title, total):
            self.total, self.advances = total, []
            made.append(self)

        def advance(self, images):
            self.advances.append(images)

        def close(self):
            self.advances.append("closed")

    monkeypatch.setattr(probe_progress, "ProgressBar", RecordedBar)
    return made


def test_one_bar_has_the_passes_of_all_probes(bars):
    progress = ProbeProgress("checks", {"trace": 30.2, "noise": 100, "square": 50})
    with progress.probe("noise") as advance:
        advance(0.25)
        advance(0.5)
    with progress.probe("trace"):
        pass
    with progress.probe("not planned") as advance:
        advance(0.5)
    progress.close()  # No check needed the square attack.
    (bar,) = bars
    assert progress.begun == ["noise", "trace", "not planned"]
    assert bar.total == 180
    assert bar.advances == [25, 25, 50, 30, 50, "closed"]


def test_without_a_plan_there_is_no_bar(bars):
    progress = ProbeProgress()
    with progress.probe("trace") as advance:
        advance(1.0)
    progress.close()
    assert bars == []
