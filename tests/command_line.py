"""The command line, called within the process of a test."""

from __future__ import annotations

import sys

import pytest

from bongsu.cli import main


def call(patch: pytest.MonkeyPatch, *words: str) -> int:
    """Run `bongsu WORDS` and return its exit status."""
    patch.setattr(sys, "argv", ["bongsu", *words])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
