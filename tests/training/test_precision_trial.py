"""`--mixed_precision=auto`: bfloat16 for long trainings on devices that are faster in it."""

import pytest

from tests.training.test_trainer import ARRAYS, Fit, config
from tfdefense.training import Trainer, precision_trial
from tfdefense.training.distribute import multi_worker
from tfdefense.training.precision_trial import (
    choose_precision,
    computes_natively,
    measure_speedup,
    report_slow_precision,
)

MNIST, MANY = (28, 28, 1), 450_000


@pytest.fixture
def device(monkeypatch):
    """Return a function that replaces how fast bfloat16 is on the device; 0 if it has none."""

    def set_device(speedup):
        monkeypatch.setattr(precision_trial, "computes_natively", lambda: speedup > 0)
        monkeypatch.setattr(precision_trial, "measure_speedup", lambda: speedup)

    return set_device


@pytest.mark.parametrize(
    ("speedup", "expected", "reason"),
    [
        (1.8, "bfloat16", "bfloat16 is 1.80 times as fast"),
        (1.05, "float32", "bfloat16 is 1.05 times as fast"),
        (0, "float32", "not all devices have bfloat16"),
    ],
)
def test_auto_needs_a_native_and_faster_device(device, capsys, speedup, expected, reason):
    device(speedup)
    assert choose_precision("auto", MNIST, MANY) == expected
    assert f"--mixed_precision=auto: {expected}, because {reason}." in capsys.readouterr().out


def test_no_worker_runs_the_trial_if_the_device_of_another_is_not_native(
    device, monkeypatch, capsys
):
    device(1.8)
    answers = []
    monkeypatch.setattr(multi_worker, "any_worker", lambda answer: answers.append(answer) or True)
    monkeypatch.setattr(precision_trial, "measure_speedup", lambda: pytest.fail("a trial was run"))
    assert choose_precision("auto", MNIST, MANY) == "float32"
    assert answers == [False]
    assert "because not all devices have bfloat16." in capsys.readouterr().out


def test_short_trainings_are_float32_without_a_trial(device, capsys):
    device(1.8)
    assert choose_precision("auto", MNIST, 24 * 1_257) == "float32"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("given", ["float32", "bfloat16"])
def test_a_given_precision_is_taken(device, given):
    device(1.8 if given == "float32" else 0)
    assert choose_precision(given, MNIST, MANY) == given


@pytest.mark.parametrize(
    ("precision", "native", "reports"),
    [("bfloat16", False, True), ("bfloat16", True, False), ("float32", False, False)],
)
def test_a_training_says_once_that_bfloat16_is_slow_on_its_device(
    device, capsys, precision, native, reports
):
    device(1.8 if native else 0)
    task = Fit()
    Trainer(task, config(mixed_precision=precision)).fit(ARRAYS)
    assert float(task.weight) == pytest.approx(3.0, abs=0.1)
    lines = [line for line in capsys.readouterr().out.splitlines() if "--mixed_precision" in line]
    assert len(lines) == reports
    assert all(
        "Training may be slow. --mixed_precision=float32 is faster" in line for line in lines
    )


def test_a_finished_training_does_not_say_that_bfloat16_is_slow(device, tmp_path, capsys):
    device(0)
    for _ in range(2):
        Trainer(Fit(), config(mixed_precision="bfloat16"), tmp_path).fit(ARRAYS)
    assert capsys.readouterr().out.count("--mixed_precision=bfloat16: ") == 1


@pytest.mark.parametrize("other_is_native", [True, False])
def test_all_workers_say_the_same_of_their_devices(device, monkeypatch, capsys, other_is_native):
    device(1.8)
    answers = []
    monkeypatch.setattr(
        multi_worker, "any_worker", lambda answer: answers.append(answer) or not other_is_native
    )
    report_slow_precision("bfloat16")
    assert answers == [False]  # A worker with a native device asks the others too.
    printed = capsys.readouterr().out
    assert ("not all devices are known to have instructions for it" in printed) != other_is_native


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 sse\n", True),
        ("flags : fpu avx2 amx_bf16\n", True),
        ("Features : fp asimd i8mm bf16\n", True),
        ("flags : fpu avx2 avx512f\nbugs : avx512_bf16\n", False),
        ("", False),
    ],
)
def test_native_processors_are_those_with_the_instructions(tmp_path, monkeypatch, text, native):
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    monkeypatch.setattr(precision_trial, "_CPU_INFO", tmp_path / "cpuinfo")
    assert computes_natively() is native


def test_a_system_without_cpuinfo_is_not_native(tmp_path, monkeypatch):
    monkeypatch.setattr(precision_trial, "_CPU_INFO", tmp_path / "missing")
    assert not computes_natively()


@pytest.fixture
def small_trial(monkeypatch):
    """Replace the step of the trial by one that takes no time."""
    for name, value in {"_ROUNDS": 1, "_BATCH": 2, "_SHAPE": (4, 4, 2), "_FILTERS": 2}.items():
        monkeypatch.setattr(precision_trial, name, value)
    measure_speedup.cache_clear()
    yield
    measure_speedup.cache_clear()


@pytest.mark.usefixtures("small_trial")
def test_the_trial_runs_in_the_scope_of_a_strategy(two_replicas):
    with two_replicas.scope():
        assert measure_speedup() > 0


@pytest.mark.slow
def test_the_trial_measures_both_precisions():
    assert 0.01 < measure_speedup() < 100
    assert measure_speedup() is measure_speedup()  # Measured once.
