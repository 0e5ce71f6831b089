"""Requirements of graphs, from the table of operations by version."""

import pytest

from tfdefense.serving.exporter.operations import requirements_of, table_versions
from tfdefense.serving.exporter.requirements_section import requirements_section


def test_the_table_has_all_versions():
    assert table_versions() == tuple((2, minor) for minor in range(5, 22))


@pytest.mark.parametrize(
    ("used", "oldest", "reasons"),
    [
        ({"Conv2D": {"strides", "padding", "T"}}, "2.5", ()),
        ({"Conv2D": {"T"}, "DisableCopyOnRead": set()}, "2.10", ("DisableCopyOnRead",)),
        ({"VarHandleOp": {"dtype", "debug_name"}}, "2.15", ("VarHandleOp (debug_name)",)),
        ({"MyOperation": {"x"}, "Conv2D": {"T"}}, None, ("MyOperation",)),
        ({"Conv2D": {"my_argument"}}, None, ("Conv2D (my_argument)",)),
    ],
)
def test_the_oldest_version_has_all_operations_and_arguments(used, oldest, reasons):
    found = requirements_of(used)
    assert found.operations == tuple(sorted(used))
    assert (found.oldest, found.reasons) == (oldest, reasons)


@pytest.mark.parametrize(
    ("used", "sentence"),
    [
        ({"Add": set()}, "TF Serving 2.5 or newer: this one has all operations and their arguments. "),
        ({"DisableCopyOnRead": set()}, "TF Serving 2.10 or newer: this one has all operations and"
        " their arguments; older ones lack DisableCopyOnRead. "),
        ({"Mine": set()}, "The oldest TF Serving is unknown: the list of operations up to 2.21 lacks Mine."),
    ],
)  # fmt: skip
def test_the_card_names_the_oldest_server(used, sentence):
    lines = requirements_section(requirements_of(used), (1, 8), certifies=False)
    section = "\n".join(lines)
    assert sentence in section
    assert f"Operations (1): {next(iter(used))}." in section
    assert "Warm-up requests of 1, 8 images" in section
