"""MkDocs hook: pages from files outside docs/, and links between them and docs/."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
ROOT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
# Folder of the site -> folder of the repository, with the file endings that are published.
FOLDERS = {"measured": ("results", (".md", ".png", ".svg", ".csv"))}
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def published_files() -> dict[str, str]:
    """Return the path on the site of each file outside docs/, by its path in the repository."""
    published = {name: name for name in ROOT_PAGES}
    for site_folder, (folder, suffixes) in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes:
                inside = path.relative_to(ROOT / folder).as_posix()
                published[f"{folder}/{inside}"] = f"{site_folder}/{inside}"
    return published


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the published files to the site."""
    for repository_path, site_path in published_files().items():
        files.append(File.generated(config, site_path, abs_src_path=str(ROOT / repository_path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace links that are relative to the repository by links within the site."""
    source = page.file.abs_src_path
    if source is None or not Path(source).is_relative_to(ROOT):
        return markdown
    folder = Path(source).parent.relative_to(ROOT).as_posix()
    published = published_files()

    def replace(match: re.Match[str]) -> str:
        target, _, anchor = match[1].partition("#")
        if not target or ":" in target:
            return match[0]
        in_repository = posixpath.normpath(posixpath.join(folder, target))
        on_site = published.get(in_repository, in_repository.removeprefix("docs/"))
        relative = posixpath.relpath(on_site, posixpath.dirname(page.file.src_uri) or ".")
        return f"]({relative}{'#' + anchor if anchor else ''})"

    return _LINK.sub(replace, markdown)
