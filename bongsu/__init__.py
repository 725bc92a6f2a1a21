"""Bongsu: from raw text to a small language model of your own, and from there to a disaster detector."""

from __future__ import annotations

__version__ = "0.1.0"
