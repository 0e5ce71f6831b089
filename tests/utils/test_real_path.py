"""A link that leads to itself is no traceback, in no version of Python."""

import os
import re
from pathlib import Path

import tfdefense
from tfdefense.utils.real_path import real_path


def test_links_are_followed_and_one_to_itself_stays(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "itself").symlink_to("itself")
    monkeypatch.chdir(tmp_path)
    here = Path(os.getcwd())
    assert real_path("link/../link/a") == here / "there" / "a"
    assert real_path(Path("itself")) == here / "itself"


def test_no_module_resolves_paths_otherwise():
    """`Path.resolve` raises `RuntimeError` for a link to itself before Python 3.13."""
    modules = Path(tfdefense.__file__).parent.rglob("*.py")
    found = [
        str(path)
        for path in modules
        if re.search(r"(?<!`)Path\.resolve\b|\.resolve\(\)", path.read_text("utf-8"))
    ]
    assert found == []
