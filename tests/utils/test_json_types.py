import pytest

from tfdefense.utils.json_types import TypeMismatch, type_name, typed_value


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (3, int, 3),
        (3, float, 3),
        (0.5, float | None, 0.5),
        (None, float | None, None),
        ("x", str, "x"),
        (True, bool, True),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([], tuple[float, ...] | None, ()),
        ([4, 5], tuple[int, int], (4, 5)),
        ({"a": 1}, dict, {"a": 1}),
    ],
)
def test_values_that_fit(value, annotation, expected):
    found = typed_value(value, annotation)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "needed"),
    [
        ("3", int, "a whole number"),
        (3.0, int, "a whole number"),
        (True, int, "a whole number"),
        (False, float, "a number"),
        (None, str, "a string"),
        (1, bool, "true or false"),
        ([1, "a"], tuple[int, ...], "a list of whole numbers"),
        ([1, 2, 3], tuple[int, int] | None, "a list of 2 whole numbers or null"),
        ("ab", tuple[str, ...], "a list of strings"),
        ([], dict, "an object"),
    ],
)
def test_values_that_do_not_fit(value, annotation, needed):
    with pytest.raises(TypeMismatch, match=f"^{needed}$"):
        typed_value(value, annotation)
    assert type_name(annotation) == needed
