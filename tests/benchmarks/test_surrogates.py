"""benchmarks/surrogates.py: inputs that it refuses."""

import importlib
import sys

import pytest

from tests.docs.markdown import ROOT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run=nowhere"], "nowhere"),
        (["--model=robust_purifier/mnist/mnist_cn"], "robust_purifier/mnist/mnist_cnn"),
        (["--run=a", "--model=b"], "not allowed with argument --run"),
    ],
)
def test_bad_input_is_one_line_and_status_2(monkeypatch, capsys, arguments, message):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setattr(sys, "argv", ["surrogates.py", *arguments])
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module("surrogates").main()
    assert message in capsys.readouterr().err.splitlines()[-1]
