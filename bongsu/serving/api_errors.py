"""Answers that are not results, all in one form: `{"error": message}`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import orjson
from pydantic_core import ErrorDetails
from starlette.responses import Response

_SHOWN = 10  # wrong fields named in one answer


class ApiError(Exception):
    """A request, or one item of it, that is not answered with a result."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        """
        Args:
            status: the HTTP status.
            message: what is wrong, in one sentence or two.
            retry_after: seconds after which the client may try again.
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {} if retry_after is None else {"Retry-After": str(max(1, math.ceil(retry_after)))}
        if status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"

    def response(self) -> Response:
        """Return the error as a JSON response."""
        return Response(orjson.dumps({"error": self.message}), self.status, self.headers, media_type="application/json")


def format_validation_errors(errors: Sequence[ErrorDetails]) -> str:
    """Return what is wrong with a request's body, from pydantic's list of errors, without repeating the values sent."""
    return " ".join(dict.fromkeys(_sentence(error) for error in errors[:_SHOWN]))


def _sentence(error: ErrorDetails) -> str:
    kind, details = error["type"], error.get("ctx", {})
    place = ".".join(str(part)[:100].encode("ascii", "backslashreplace").decode() for part in error["loc"][1:])
    if kind in ("json_invalid", "model_attributes_type", "dict_type") or (kind == "missing" and not place):
        return "The body is not a JSON object; send one like the examples in /docs, with Content-Type: application/json."
    words = {
        "missing": "is missing.",
        "extra_forbidden": "is not a field of this request; the fields are in /docs.",
        "string_type": "is not text.",
        "list_type": "is not a list.",
        "bool_type": "is not true or false.",
        "bool_parsing": "is not true or false.",
        "int_type": "is not a whole number.",
        "int_parsing": "is not a whole number.",
        "int_from_float": "is not a whole number.",
        "too_short": "is an empty list.",
        "greater_than_equal": f"is less than {details.get('ge')}.",
        "less_than_equal": f"is more than {details.get('le')}.",
    }
    return f"{place}: {words.get(kind, error['msg'] + '.')}"
