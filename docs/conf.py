"""How the documentation is built: MyST pages, tutorials that are run, the SDK's own docstrings; warnings are errors."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.ext import intersphinx

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import inventories  # noqa: E402 - it lies beside this file

project = "qpu-sdk"
author = "the qpu-sdk contributors"
project_copyright = "the qpu-sdk contributors, Apache-2.0"
version = release = installed_version("qpu-sdk")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
source_suffix = {".md": "myst-nb"}
exclude_patterns = ["_build", "_static"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# --- tutorials are notebooks: what they show is what they printed ---------------------------------------------------
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "notebooks")
nb_execution_raise_on_error = True
nb_execution_timeout = 300
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="qpu-docs-")  # what they journal is none of whoever builds

# --- the SDK's reference is its docstrings --------------------------------------------------------------------------
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
intersphinx_mapping = {"qiskit": (inventories.QISKIT, str(inventories.write(HERE / "_build" / "inventories")))}

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_show_sourcelink = False

_OF_QISKIT = {name.rpartition(".")[2]: name for name in inventories.NAMES}


def plain_sentences(_app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """What a property says is a sentence, even with a colon in it; a bar is a bar."""
    if what in {"attribute", "property", "data"}:
        lines[:0] = ["..", ""]  # an empty comment, or napoleon takes what is before a colon for a type
    lines[:] = [line.replace("|ζ|", "\\|ζ\\|") for line in lines]


def type_as_text(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element) -> Element | None:
    """A type in a signature: a link to Qiskit, or its name alone where it has no page. Other targets must exist."""
    if node.get("refdomain") != "py" or node.get("reftype") not in {"class", "obj", "data", "exc"}:
        return None
    home, _, last = node["reftarget"].rpartition(".")
    if last not in _OF_QISKIT or home.partition(".")[0] not in {"", "qiskit"}:
        return content
    node["reftarget"] = _OF_QISKIT[last]  # where Qiskit documents it, wherever it is defined
    return intersphinx.missing_reference(app, env, node, content)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", plain_sentences, priority=100)
    app.connect("missing-reference", type_as_text, priority=900)
