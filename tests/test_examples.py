"""The notebooks run from their first cells to their last, and their figures and files exist."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
ONE_CHECK = """
import pytest
from tests.one_check import use_one_check
use_one_check(pytest.MonkeyPatch())
"""
REFUSAL = "[0, 1] needed. Divide 0-255 values by 255"


def shorten(notebook, usual, short):
    """Replace the length of a training or a number of images by a shorter one."""
    sources = [cell for cell in notebook.cells if usual in cell.source]
    assert len(sources) == 1
    sources[0].source = sources[0].source.replace(usual, short)


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Function from a notebook and pairs (usual, short) to its code cells, figures and text."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def execute(name, *pairs):
        notebook = nbformat.read(ROOT / "examples" / name, as_version=4)
        for usual, short in pairs:
            shorten(notebook, usual, short)
        notebook.cells.insert(0, nbformat.v4.new_code_cell(ONE_CHECK))
        NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": tmp_path}}).execute()
        cells = [cell for cell in notebook.cells[1:] if cell.cell_type == "code"]
        outputs = [output for cell in cells for output in cell.outputs]
        figures = [output for output in outputs if "image/png" in output.get("data", {})]
        text = "".join(output.get("text", "") for output in outputs)
        text += "".join(output.get("data", {}).get("text/markdown", "") for output in outputs)
        return cells, figures, text

    return execute


@pytest.mark.slow
def test_quickstart_runs(execute, tmp_path):
    cells, figures, text = execute(
        "quickstart.ipynb",
        ("data.train, epochs=12", "data.train.take(256), epochs=1"),
        ("epochs=15", "epochs=5"),
        ("take(100)", "take(20)"),
        ("white_box_images=20", "white_box_images=4"),
    )
    assert len(cells) == 10
    assert len(figures) == 3
    assert (tmp_path / "models" / "mine" / "1" / "saved_model.pb").is_file()
    for needed in ("Accuracy on test images", "white box", REFUSAL):
        assert needed in text


@pytest.mark.slow
def test_traffic_signs_runs(execute, tmp_path, monkeypatch, shared_data):
    if not (Path(shared_data) / "gtsrb").is_dir():
        pytest.skip("no prepared gtsrb here")
    monkeypatch.setenv("TFDS_DATA_DIR", shared_data)
    _, figures, text = execute(
        "traffic_signs.ipynb",
        ("len(data.test), 500", "len(data.test), 40"),
        ("steps=50", "steps=10"),
        ("steps=25", "steps=2"),
        ("some.take(200), attacks", "some.take(8), attacks"),
        ("white_box_images=100", "white_box_images=4"),
        ("half = some.take(200)", "half = some.take(8)"),
        ("validation_images=data.validation", "validation_images=data.validation.take(50)"),
    )
    assert len(figures) == 3
    assert (tmp_path / "models" / "signs" / "1" / "saved_model.pb").is_file()
    for needed in ("12,630 test images", "white box", "stop ", "suspicion ", REFUSAL):
        assert needed in text
