"""bin/export of runs that cannot be exported: one line, status 2, nothing written."""

import json
import shutil

import pytest

from tfdefense.cli.main import main


@pytest.fixture
def damaged(run, tmp_path):
    """A copy of the finished run, to be damaged."""
    return shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("export"))


def _shorten(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _last(run, suffix):
    return max(run.glob(f"checkpoints/ckpt-*{suffix}"), key=lambda path: path.stat().st_mtime)


def _unfinish(run):
    (run / "files.json").unlink()
    _edit_json(run / "config.json", lambda content: content["surroundings"].update(steps=10**6))


def _exchange_weights(run):
    data = _last(run, "data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)


def _take_other_report(run):
    def change(content):
        for row in content["rows"]:
            row["defense"] = "magnet" if row["defense"] == "apeganpp" else row["defense"]

    _edit_json(run / "report.json", change)


_DAMAGE = {
    "unfinished": (_unfinish, "training is not finished"),
    "other weights": (_exchange_weights, "is not the file that the training wrote"),
    "short weights": (lambda run: _shorten(_last(run, "data-00000-of-00001")), "is not the file that"),
    "short index": (lambda run: _shorten(_last(run, "index")), "is not the file that the training"),
    "short classifier": (lambda run: _shorten(run / "classifier.keras"), "classifier.keras is not"),
    "no checkpoint": (lambda run: shutil.rmtree(run / "checkpoints"), "is missing"),
    "short config": (lambda run: _shorten(run / "config.json"), "not valid"),
    "short report": (lambda run: _shorten(run / "report.json"), "report.json: damaged"),
    "other report": (_take_other_report, "report.json: is of another run (of magnet"),
    "other images": (
        lambda run: _edit_json(
            run / "config.json", lambda content: content["surroundings"].update(image_shape=[8, 8, 1])
        ),
        "takes images of (28, 28, 1), but config.json names (8, 8, 1)",
    ),
    "other classes": (
        lambda run: _edit_json(
            run / "config.json", lambda content: content["surroundings"].update(class_names=["a", "b"])
        ),
        "gives 10 classes, but config.json names 2",
    ),
}  # fmt: skip


def _export_and_read_line(arguments, capsys):
    assert main(["export", *arguments]) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1
    return printed.err


@pytest.mark.parametrize("damage", _DAMAGE)
def test_a_run_that_cannot_be_exported_is_one_line(damaged, tmp_path, capsys, damage):
    make, message = _DAMAGE[damage]
    make(damaged)
    output = tmp_path / "model"
    before = sorted(damaged.rglob("*"))
    line = _export_and_read_line([f"--run={damaged}", f"--output={output}"], capsys)
    assert message in line
    assert not output.exists()
    assert sorted(damaged.rglob("*")) == before


def test_a_link_as_output_is_one_line(run, tmp_path, capsys):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    line = _export_and_read_line([f"--run={run}", f"--output={tmp_path / 'link'}"], capsys)
    assert (
        f"link: is a symbolic link. Give the directory that it leads to: --output={tmp_path}"
        in line
    )
    assert list((tmp_path / "real").iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--version=0", "--version=0: a number from 1 to 9223372036854775807 is needed"),
        (f"--version={2**63}", "--version="),
        ("--version=1.5", "--version="),
        ("--version=one", "--version="),
        ("--version=", "--version="),
        ("--batch_sizes=1,x", "--batch_sizes=1,x: whole numbers separated by commas"),
        ("--batch_sizes=0", "--batch_sizes=0: numbers from 1 to 4,096"),
        ("--batch_sizes=", "--batch_sizes=: 0 numbers given"),
    ],
)
def test_a_wrong_number_is_one_line(run, tmp_path, capsys, flag, message):
    output = tmp_path / "model"
    line = _export_and_read_line([f"--run={run}", f"--output={output}", flag], capsys)
    assert message in line
    assert not output.exists()
