"""The C load test on a small model: the short form of `tests/soak/serving_load.py --batching`."""

import shutil

import pytest

from tests.serving.guide import guide_batching
from tests.serving.load.c_program import compile_load_test, run_load_test

pytestmark = pytest.mark.slow
REQUESTS = 200


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    return compile_load_test(tmp_path_factory.mktemp("load") / "serving_load")


@pytest.mark.parametrize("batching", [False, True])
def test_all_answers_are_those_of_the_images_alone(program, exported, batching):
    parameters = guide_batching() if batching else None
    status, result, errors = run_load_test(program, exported, REQUESTS, parameters)
    assert (status, result["wrong"]) == (0, 0), errors
    assert (result["requests"], result["threads"]) == (REQUESTS, 8)
    assert result["bad"] == result["refused"] == pytest.approx(REQUESTS / 10, abs=15)
    assert list(result["latency_ms"]) == ["1", "3", "8", "128"]
    assert all(0 < p50 <= p99 for p50, p99 in result["latency_ms"].values())
    assert (result["joined"] > 0) == batching
    assert result["rss_start_mib"] > 0


def test_wrong_answers_end_with_status_1(program, exported):
    status, result, errors = run_load_test(program, exported, 20, flags=["--tolerance=-1"])
    assert (status, result["refused"]) == (1, result["bad"])
    assert result["wrong"] > 50  # Those of the warm-up too.
    assert "wrong answer" in errors


def test_memory_that_grows_ends_with_status_1(program, exported):
    status, result, _ = run_load_test(program, exported, 20, flags=["--max_growth_mib=-1000"])
    assert (status, result["wrong"]) == (1, 0)
