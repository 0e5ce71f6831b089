"""Parameters of foreign attacks as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfdefense.attacks.core.foreign_parameters import format_parameters, parse_parameters
from tfdefense.errors import UserError

VALUES = st.one_of(
    st.booleans(),
    st.none(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["inf", "l2", "difference_logits_ratio", "a.b"]),
)


@given(st.dictionaries(st.sampled_from(["norm", "max_iter", "eps_step", "x1"]), VALUES))
def test_parameters_survive_their_text(values):
    text = format_parameters(values)
    found = parse_parameters(text, "art:X")
    assert found == values
    assert [type(value) for value in found.values()] == [type(value) for value in values.values()]


def test_words_need_no_quotes_and_constants_no_capitals():
    text = "a=inf:b='inf':c=true:d=False:e=none:f=-1e-3"
    expected = {"a": "inf", "b": "inf", "c": True, "d": False, "e": None, "f": -0.001}
    assert parse_parameters(text, "art:X") == expected
    assert parse_parameters("", "art:X") == {}


@pytest.mark.parametrize(
    "part",
    [
        *("steps", "=1", "a=", "a-b=1", "a=__import__('os').getcwd()", "a=[1, 2]", "a=1+1"),
        *("a=a/b", "a='a,b'", "a=(1,)", "a={}", "a=1:a=2", "a=b'x'", "a=1j"),
    ],
)
def test_anything_else_is_refused(part):
    with pytest.raises(UserError, match="--attacks=art:X"):
        parse_parameters(part, "art:X")
