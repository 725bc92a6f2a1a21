"""The models that ship with Bongsu: `bongsu:beacon` is an encoder for English and Korean, and a disaster detector on it.

The encoder is a model folder, the detector a bundle that answers without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bongsu.errors import WorkspaceError

PREFIX = "bongsu:"
DEFAULT = "bongsu:beacon"
"""The detector that answers when none is named."""
ROOT = Path(__file__).parent
Part = Literal["encoder", "detector"]


def packaged(name: str | Path, part: Part) -> Path | None:
    """Return the folder of a model that ships with Bongsu; None for a name without "bongsu:".

    Raises:
        WorkspaceError: naming the models there are, when there is no such model.
    """
    if not str(name).startswith(PREFIX):
        return None
    found = sorted(folder.parent.name for folder in ROOT.glob(f"*/{part}"))
    if (wanted := str(name).removeprefix(PREFIX)) not in found:
        there = ", ".join(PREFIX + each for each in found) or "none"
        raise WorkspaceError(f"{name}: no {part} of this name ships with Bongsu; there is {there}.")
    return ROOT / wanted / part
