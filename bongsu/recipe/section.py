"""What the sections of a recipe have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Tree: TypeAlias = dict[str, Any]
"""A recipe, or a part of one, as plain values."""
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]
Schedule = Literal["constant", "linear", "cosine", "cosine_restarts", "exponential", "wsd"]
Activation = Literal["relu", "gelu", "swish", "geglu", "swiglu"]
GATED: tuple[Activation, ...] = ("geglu", "swiglu")

SPECIAL_TOKENS = 5  # [PAD] [UNK] [MASK], and [LINK] [USER]
BYTES = 256  # the alphabet every byte-level vocabulary holds


class Section(BaseModel):
    """A part of a recipe. Unknown keys are refused, so that a typing error never passes for a setting."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _none(cls, values: Any) -> Any:
        """TOML has no null: the word "none" stands for it, for the keys that may be None."""
        if not isinstance(values, dict):
            return values
        optional = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        return {key: None if key in optional and value == "none" else value for key, value in values.items()}


SectionT = TypeVar("SectionT", bound=Section)
