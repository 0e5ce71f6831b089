"""The notebook runs from its first cell to its last, and its figures and files exist."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def shorten(notebook, usual, short):
    """Replace the length of a training or a number of images by a shorter one."""
    sources = [cell for cell in notebook.cells if usual in cell.source]
    assert len(sources) == 1
    sources[0].source = sources[0].source.replace(usual, short)


@pytest.mark.slow
def test_quickstart_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    for usual, short in (
        ("data.train, epochs=12", "data.train.take(256), epochs=1"),
        ("epochs=15", "epochs=5"),
        ("take(100)", "take(20)"),
        ("white_box_images=20", "white_box_images=4"),
    ):
        shorten(notebook, usual, short)
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": tmp_path}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) == 10
    outputs = [output for cell in cells for output in cell.outputs]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    text = "".join(output.get("text", "") for output in outputs)
    text += "".join(output.get("data", {}).get("text/markdown", "") for output in outputs)
    assert len(figures) == 3
    assert (tmp_path / "models" / "mine" / "1" / "saved_model.pb").is_file()
    for needed in (
        "Accuracy on test images",
        "white box",
        "[0, 1] needed. Divide 0-255 values by 255",
    ):
        assert needed in text
