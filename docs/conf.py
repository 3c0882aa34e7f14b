"""Sphinx builds the documentation with this: `make docs`.

The API's pages are made from the sources without importing them, so neither PyTorch nor ROS nor
the generated messages are needed.
"""

from __future__ import annotations

import builtins
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))

from docstrings import restructured  # noqa: E402
from docutils import nodes  # noqa: E402
from sphinx import addnodes  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "flowface_ros"
release = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")
extensions = ["myst_parser", "autoapi.extension"]
exclude_patterns = ["images"]
suppress_warnings = ["autoapi.python_import_resolution"]
"""autoapi looks for imported names that are assigned several at a time, and for messages."""
highlight_language = "text"
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_copyright = False

autoapi_dirs = [str(ROOT / project)]
autoapi_root = "api"
autoapi_add_toctree_entry = False
autoapi_ignore = [str(ROOT / project / "msg" / "*")]
"""Generated code; the page of messages has their definitions."""
autoapi_options = ["members", "undoc-members", "show-inheritance", "show-module-summary"]
autoapi_python_class_content = "both"
add_module_names = False
python_use_unqualified_type_names = True
python_display_short_literal_types = True
maximum_signature_line_length = 88


def _page(app: Sphinx, name: str, source: list[str]) -> None:
    """The README is the front page, index.md its tables of contents; modules have short names."""
    if name.startswith("api/"):
        source[0] = re.sub(r"(?m)^   (/api/\S+/(\w+)/index)$", r"   \2 <\1>", source[0])
    if name == "index":
        readme = (ROOT / "README.md").read_text()
        source[0] = re.sub(r"\]\((?!\w+:|#)", "](../", readme) + "\n" + source[0]
        app.env.note_dependency(str(ROOT / "README.md"))


def _docstring(
    app: Sphinx, what: str, name: str, documented: Any, options: Any, lines: list[str]
) -> None:
    # autoapi gives exceptions the docstrings of Python's own __init__ and __new__.
    lines[:] = restructured([line for line in lines if not line.endswith("accurate signature.")])


def _skip(
    app: Sphinx, what: str, name: str, documented: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out constants without a docstring; type aliases need none."""
    is_alias = re.match("[A-Z][a-z]", name.rpartition(".")[2])
    return True if what == "data" and documented.is_undoc_member and not is_alias else None


def _builtins(app: Sphinx, document: nodes.document) -> None:
    """`type` of an annotation is Python's, not some field of that name."""
    for reference in list(document.findall(addnodes.pending_xref)):
        if reference["refdomain"] == "py" and hasattr(builtins, reference["reftarget"]):
            reference.replace_self(nodes.Text(reference["reftarget"]))


def _sidebar(app: Sphinx, page: str, template: str, context: dict[str, Any], document: Any) -> None:
    """Unfold the page's own branch alone: with all modules in all pages the build takes thrice."""
    toctree = context["toctree"]
    context["toctree"] = lambda **options: toctree(**{**options, "collapse": True})


def setup(app: Sphinx) -> None:
    app.connect("source-read", _page)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autoapi-skip-member", _skip)
    app.connect("doctree-read", _builtins)
    app.connect("html-page-context", _sidebar, priority=400)  # before the theme takes it
