import json

import numpy as np
import pytest

from tfdefense.data import Split
from tfdefense.defenses import DenoisedSmoothing
from tfdefense.defenses.core.randomized_smoothing import ABSTAINS
from tfdefense.errors import UserError
from tfdefense.evaluation import certification
from tfdefense.evaluation.certification import Certificate, CertificationConfig, certify
from tfdefense.evaluation.report.certificate_report import certificate_table
from tfdefense.training.run_directory import RunDirectory

CERTIFICATE = Certificate(
    settings={"sigma": 0.5, "draws": 100, "first": 10, "alpha": 0.001},
    labels=np.array([0, 1, 2, 0]),
    classes=np.array([0, 1, 0, ABSTAINS]),
    radii=np.array([0.3, 0.6, 0.9, 0.0]),
)


def test_only_images_with_the_correct_class_are_counted():
    assert [CERTIFICATE.correct_within(radius) for radius in (0, 0.3, 0.5, 0.7)] == [2, 2, 1, 0]
    assert CERTIFICATE.abstained == 1
    assert [line[0] for line in certificate_table(CERTIFICATE)[1:]] == [
        *("0.00", "0.25", "0.50", "0.75")
    ]


def test_summary_has_share_abstentions_and_average_radius():
    assert "the correct class is certified for 50.0% of 4 test images" in CERTIFICATE.summary
    assert "No class is certified for 1 images" in CERTIFICATE.summary
    assert "average certified radius is 0.225" in CERTIFICATE.summary


@pytest.fixture(scope="module")
def smoothing(toy_model):
    return DenoisedSmoothing(toy_model, sigma=0.3, votes=2, widths=(4, 8))


def test_certificates_of_other_images_or_code_are_not_resumed(
    smoothing, toy_split, tmp_path, monkeypatch
):
    config, run = CertificationConfig(60, 20), RunDirectory(tmp_path / "certified", "output")
    first = certify(smoothing, toy_split.take(2), run, config)
    assert first.abstained < 2, "else the radii below would be equal in any case"
    more = certify(smoothing, toy_split.take(3), run, config)
    np.testing.assert_array_equal(more.radii[:2], first.radii)
    others = Split(1 - toy_split.images, toy_split.labels, 3, "toy")
    with pytest.raises(UserError, match="holds certificates of other images"):
        certify(smoothing, others.take(3), run, config)
    monkeypatch.setattr(certification, "model_code_revision", lambda _: "another")
    with pytest.raises(UserError, match=r"--output=.*: holds certificates of other code"):
        certify(smoothing, toy_split.take(3), run, config)
    stored = json.loads(run.config_path.read_text())
    del stored["surroundings"]["model_code"]
    run.config_path.write_text(json.dumps(stored))  # As 0.2.0 wrote it.
    np.testing.assert_array_equal(
        certify(smoothing, toy_split.take(3), run, config).radii, more.radii
    )


def test_bad_input_is_named(bit_depth, toy_split, tmp_path):
    with pytest.raises(UserError, match="--estimation_samples=0: at least 1"):
        CertificationConfig(estimation_samples=0)
    with pytest.raises(UserError, match="--selection_samples=-1: at least 1"):
        CertificationConfig(selection_samples=-1)
    CertificationConfig(2**31 - 101, 100)
    with pytest.raises(
        UserError, match="--estimation_samples=2147483548: estimation and selection"
    ):
        CertificationConfig(2**31 - 100, 100)
    with pytest.raises(
        UserError, match=r"--selection_samples=3000000000: .* more than 2,147,483,647"
    ):
        CertificationConfig(selection_samples=3_000_000_000)
    with pytest.raises(UserError, match="bit_depth cannot certify"):
        certify(bit_depth, toy_split, RunDirectory(tmp_path))
