"""The documentation builds without a warning, and nothing in it points to nothing."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def _program(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MARKDOWN = """A `point`s |x| of x_ * y.

size: pixels, with
    its unit.
width, height: of it.
Raises ValueError for `0`.

    y = a * x

- one
  and more
- two"""
RESTRUCTURED = r"""A ``point``\ s \|x\| of x\_ \* y.

- ``size``: pixels, with its unit.
- ``width``, ``height``: of it.

Raises ValueError for ``0``\ .

::

        y = a * x

- one and more
- two
"""


def test_docstrings_become_restructured_text() -> None:
    lines = _program(DOCS / "docstrings.py").restructured(MARKDOWN.splitlines())
    assert "\n".join(lines) == RESTRUCTURED


class _Page(HTMLParser):
    """What a page points to, and what in it can be pointed to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            elif name == "id" and value:
                self.anchors.add(value)


def test_page_of_messages_has_all() -> None:
    page = (DOCS / "messages.md").read_text()
    for path in (ROOT / "msg").glob("*.msg"):
        assert f"```{{literalinclude}} ../msg/{path.name}\n```" in page


def test_pages_have_the_tables_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tables = _program(ROOT / "tools/doc_tables.py")
    for name, of_page in tables.TABLES.items():
        page = (DOCS / name).read_text()
        assert page == tables.with_tables(page, of_page), "run tools/doc_tables.py"


@pytest.mark.parametrize("page", ["cameras", "renderer", "synth"])
def test_python_on_the_pages_runs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the repository's root, with a few points that the reader has."""
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {"points": np.array([[0.1, 0.0, 1.0]])}
    names |= {name: np.array([[640.0, 360.0]]) for name in ("pixels_left", "pixels_middle")}
    for block in (DOCS / f"{page}.md").read_text().split("```python\n")[1:]:
        exec(block.split("```")[0], names)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["synth", "renderer", "network"])
def test_examples_run(name: str, tmp_path: Path) -> None:
    """Those that are whole programs."""
    if name == "network":
        pytest.importorskip("torch")
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / f"{name}.md").read_text(), re.DOTALL)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_documentation_builds_without_warnings_and_dead_links(tmp_path: Path) -> None:
    for module in ("sphinx", "myst_parser", "autoapi", "furo"):
        pytest.importorskip(module, reason="needs the extra [docs]; `make docs` installs it")
    site = (tmp_path / "site").resolve()
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    build = subprocess.run(
        [*command, "-d", tmp_path / "doctrees", DOCS, site], capture_output=True, text=True
    )
    assert build.returncode == 0, build.stderr
    assert not build.stderr

    pages = {path: _Page(path.read_text()) for path in site.rglob("*.html")}
    for page in ("index", "api/flowface_ros/camera/camera/index", *_page_names()):
        assert site / f"{page}.html" in pages
    assert "Camera.project" in " ".join(
        pages[site / "api/flowface_ros/camera/camera/index.html"].anchors
    )
    dead = []
    for path, parsed in pages.items():
        for target in parsed.targets:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchors = pages[file].anchors if file in pages else {unquote(url.fragment)}
            if not file.is_file() or unquote(url.fragment) not in anchors:
                dead.append((path.relative_to(site), target))
    assert not dead, dead[:20]


def _page_names() -> list[str]:
    return [path.stem for path in DOCS.glob("*.md")]
