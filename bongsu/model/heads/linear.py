"""What the heads that end in one linear layer, on tokens or on a comparison, have in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class LinearConfig:
    """The shape of a linear layer and the dropout before it."""

    n_outputs: int
    dropout: float = 0.1

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from the values of `to_dict`. Raises TypeError when a key is missing or unknown."""
        return cls(**values)

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @property
    def shortest(self) -> int:
        """The fewest tokens a row of an exported graph has."""
        return 2
