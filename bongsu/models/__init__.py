"""The models that ship with Bongsu: `bongsu:beacon` is an encoder for English and Korean."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bongsu.errors import WorkspaceError

PREFIX = "bongsu:"
Part = Literal["encoder"]


def packaged(name: str | Path, part: Part) -> Path | None:
    """Return the folder of a model that ships with Bongsu; None for a name without "bongsu:".

    Raises:
        WorkspaceError: naming the models there are, when there is no such model.
    """
    if not str(name).startswith(PREFIX):
        return None
    root = Path(__file__).parent
    found = sorted(folder.parent.name for folder in root.glob(f"*/{part}"))
    if (wanted := str(name).removeprefix(PREFIX)) not in found:
        raise WorkspaceError(f"{name}: no {part} of this name ships with Bongsu; there is {', '.join(found) or 'none'}.")
    return root / wanted / part
