import pytest

from tfdefense.errors import UserError, require, short_reason, unknown_name


def test_require_raises_the_message_if_the_condition_is_false():
    require([0], "not raised")
    with pytest.raises(UserError, match=r"^nothing given$"):
        require([], "nothing given")


def test_an_unknown_name_is_reported_with_the_most_similar_name():
    message = str(unknown_name("attack", "fgms", ["pgd", "fgsm"]))
    assert message == "unknown attack 'fgms'. Did you mean 'fgsm'? Known: fgsm, pgd."


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("bad shape"), "bad shape"),
        (ValueError(""), "ValueError"),
        (
            "Graph execution error:\n\nDetected at node conv2d\n{{node conv2d}} Input is empty. [Op:Conv2D]",
            "Input is empty.",
        ),
        ("/tmp/ckpt-4.data; No space left on device", "No space left on device"),
        (
            "{{function_node __wrapped__ReadFile}} /tmp/a.pb; No such file or directory [Op:ReadFile]",
            "No such file or directory",
        ),
        ("NodeDef mentions attr 'x' not in Op<name=Y; signature=a:T>; NodeDef: {{node y}}.", None),
        (
            "Exception encountered when calling Net.call().\n\n\x1b[1mbad rank\x1b[0m\n\nArguments",
            "bad rank",
        ),
        (
            'in user code:\n\n    File "net.py", line 3, in f  *\n        x @ y\n\n    ValueError: bad rank',
            "bad rank",
        ),
        ("Sizes differ for '{{node MatMul}} = MatMul[T=1](x)'.", None),
    ],
)
def test_the_short_reason_is_one_line_without_the_place_in_the_graph(error, reason):
    assert short_reason(error) == (str(error) if reason is None else reason)
