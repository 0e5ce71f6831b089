"""The notebook is run, in a place of its own, and its pictures are looked for."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def test_quickstart(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) == 10
    outputs = [output for cell in cells for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    said = "".join(output.get("text", "") for output in outputs)
    said += "".join(output.get("data", {}).get("text/markdown", "") for output in outputs)
    assert len(pictures) == 3
    assert (tmp_path / "models" / "mine" / "1" / "saved_model.pb").is_file()
    for needed in ("Accuracy on test images", "white box", "[0, 1] needed (0-255? divide by 255)"):
        assert needed in said
