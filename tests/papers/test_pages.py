"""Markdown pages about all tables of a paper."""

from tfdefense.papers.pages import save_index
from tfdefense.papers.paper import load_paper


def test_the_index_has_the_notes_on_images(small):
    save_index(load_paper("small"), {}, ["JPEG."], small / "README.md")
    assert "with n and interval.\nJPEG.\n" in (small / "README.md").read_text()


def test_the_index_links_to_line_charts(small):
    (small / "2-lines.png").touch()
    save_index(load_paper("small"), {"1": [], "2": []}, [], small / "README.md")
    index = (small / "README.md").read_text()
    assert "Accuracy over attacks, with a line per defence: [2](2-lines.png).\n" in index
