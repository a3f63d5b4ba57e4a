"""How Sphinx builds these pages: `python -m sphinx -W --keep-going -q docs docs/_build`. CI does the same."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.search.en import SearchEnglish

import pusher_proto

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.drawing import DRAWINGS  # after the path
from docs.tabs import tabbed

project = "pusher-proto"
author = "the authors of pusher-proto"
release = version = pusher_proto.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header"]  # a page that a test makes may leave out a level of headings
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_title = f"pusher-proto {release}"
default_role = "literal"  # docstrings put code between single backquotes, as Markdown does

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "show-inheritance": True}

nitpicky = True
nitpick_ignore_regex = [
    # Other packages' names are not looked up: nothing is fetched to build these pages.
    (
        r"py:.*",
        r"(abc|anyio|asyncio|collections|contextlib|contextvars|datetime|enum|msgspec|os|random|re|socket|ssl|threading|typing)\..*",
    ),
    # Bases that only hold what two classes share, and type variables.
    (r"py:.*", r"pusher_\w+\.([a-z_]+\.)*(_\w+(\.\w+)*|\w+Base|\w*T|R)"),
    (r"py:class", r"ClientBase|Json"),
    # These are described on the page of the state machines.
    (r"py:class", r"pusher_proto\.states\.SessionState"),
]


def name_of_a_module(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Find what an annotation names by its last word: it is documented where users import it from."""
    name = str(node["reftarget"]).rpartition(".")[2]
    domain = env.domains.python_domain
    for module in ("pusher_proto", "pusher_proto.client", "pusher_proto.testing"):
        if f"{module}.{name}" in domain.objects:
            return domain.resolve_xref(
                env, node["refdoc"], app.builder, "any", f"{module}.{name}", node, content
            )
    return None


def meaning_of_a_state(*given: object) -> None:
    """Take the description of a state from its row in the tables."""
    obj, lines = given[3], given[5]
    meaning = getattr(obj, "meaning", None)
    if isinstance(meaning, str) and isinstance(lines, list):
        lines[:] = [f"{meaning[:1].upper()}{meaning[1:]}."]


def show_states(*given: object) -> bool | None:
    """Show states, which have no docstrings; leave out their attribute `meaning`."""
    name, obj = given[2], given[3]
    if name == "meaning" or getattr(obj, "__qualname__", "") == "_State.__new__":
        return True
    return False if isinstance(getattr(obj, "meaning", None), str) else None


class Search(SearchEnglish):
    """Finds numbers as well, such as close codes, which Sphinx leaves out: they are indexed with an `n` in front."""

    js_splitter_code = r"""
var splitQuery = (query) =>
  query.split(/[^\p{L}\p{N}_]+/gu).filter(Boolean).map((word) => (/^\d{3,}$/.test(word) ? `n${word}` : word));
"""

    def split(self, input: str) -> list[str]:  # noqa: A002  # the name of Sphinx
        """Return the words of a text."""
        return [
            f"n{word}" if re.fullmatch(r"\d{3,}", word) else word for word in super().split(input)
        ]


def prepare(_app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the pictures of a page by drawings made from the tables, and asynchronous examples by tabs."""

    def drawing(picture: re.Match[str]) -> str:
        svg = DRAWINGS[picture["name"]]().svg()
        return f"```{{raw}} html\n<figure>\n{svg}</figure>\n```"

    names = "|".join(DRAWINGS)
    source[0] = re.sub(rf"!\[[^\]]*\]\(img/(?P<name>{names})\.svg\)", drawing, source[0])
    source[0] = tabbed(page, source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_search_language(Search)
    app.connect("autodoc-process-docstring", meaning_of_a_state)
    app.connect("autodoc-skip-member", show_states)
    app.connect("source-read", prepare)
    app.connect("missing-reference", name_of_a_module)
