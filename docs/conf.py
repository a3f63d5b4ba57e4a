"""How Sphinx builds these pages: `python -m sphinx -W --keep-going -q docs docs/_build`. CI does the same."""

from __future__ import annotations

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import pusher_proto

project = "pusher-proto"
author = "the authors of pusher-proto"
release = version = pusher_proto.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header"]  # a page that a test makes may leave out a level of headings
html_theme = "furo"
html_show_copyright = False
html_title = f"pusher-proto {release}"
default_role = "literal"  # docstrings put code between single backquotes, as Markdown does

myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "show-inheritance": True}

nitpicky = True
nitpick_ignore_regex = [
    # Other packages' names are not looked up: nothing is fetched to build these pages.
    (
        r"py:.*",
        r"(abc|anyio|asyncio|collections|contextlib|contextvars|enum|msgspec|os|random|re|socket|ssl|typing)\..*",
    ),
    # Bases that only hold what two classes share, and type variables.
    (r"py:.*", r"pusher_\w+\.([a-z_]+\.)*(_\w+(\.\w+)*|\w+Base|\w*T|R)"),
    (r"py:class", r"ClientBase|Json"),
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


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("missing-reference", name_of_a_module)
