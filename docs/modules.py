"""Writes the list of modules in explanation/architecture.md from their docstrings' first sentences (`make modules`)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
START, END = "<!-- modules: make modules -->", "<!-- end of modules -->"


def first_sentence(path: Path) -> str:
    """What a module says it is, on one line, as Markdown."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    sentence = paragraph.partition(". ")[0].rstrip(".:").replace("``", "`").replace("|", "\\|")
    for role in (":func:", ":class:", ":mod:"):
        sentence = sentence.replace(role, "")
    return re.sub(r"`~[\w.]*\.(\w+)`", r"`\1`", sentence)  # a reference shown by its last name


def modules(package: str) -> list[Path]:
    """The modules of a package, those at its top first, without migrations."""
    found = (
        path for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py" and "versions" not in path.parts
    )
    return sorted(found, key=lambda path: (len(path.relative_to(ROOT).parts) > 2, path))


def section() -> str:
    """The generated part of the page, markers included."""
    lines = [START]
    folder = ""
    for package in ("qpu_sdk", "qpu_backend"):
        for path in modules(package):
            parent = path.parent.relative_to(ROOT).as_posix()
            if parent != folder:
                folder = parent
                lines += ["", f"### `{folder}/`", "", "| | |", "|---|---|"]
            lines.append(f"| `{path.name}` | {first_sentence(path)} |")
    return "\n".join([*lines, "", END])


def main() -> None:
    """Replace the section in the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(START)
    PAGE.write_text(before + section() + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
