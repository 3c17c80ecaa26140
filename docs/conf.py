"""How the documentation is built: MyST pages, no generated API, warnings are errors (`make docs`)."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "qpu-sdk"
author = "the qpu-sdk contributors"
project_copyright = "the qpu-sdk contributors, Apache-2.0"
version = release = installed_version("qpu-sdk")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_static"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_show_sourcelink = False
