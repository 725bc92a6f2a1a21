"""English text that comes with Python: the documentation topics of `help()` and the standard library's docstrings."""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

_PROSE = re.compile(r"[A-Z][^\n]*[a-z]{2}.*[.:!?]$", re.DOTALL)


def paragraphs() -> Iterator[tuple[str, str]]:
    """Yield (place, paragraph) of prose; code, doctests and tables are left out. The order is the same every time."""
    from pydoc_data.topics import topics

    for topic in sorted(topics):
        for paragraph in _prose(topics[topic]):
            yield f"topic {topic}", paragraph
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).parts
        if any(part in ("test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages") for part in parts):
            continue
        for docstring in _docstrings(path):
            for paragraph in _prose(docstring):
                yield "/".join(parts), paragraph


def _docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring


def _prose(text: str) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", text):
        words = " ".join(block.encode(errors="replace").decode().split())  # docstrings may hold lone surrogates
        code = ">>>" in block or "::=" in block or "|" in block or (block.startswith("   ") and "=" in block)
        if not code and 30 <= len(words) <= 2000 and _PROSE.match(words):
            yield words.replace("**", "").replace("``", "").replace('"', "")
