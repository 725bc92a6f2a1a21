"""Joining a Ray cluster: the token that `ray start` asks for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bongsu.cluster import show_token


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    return tmp_path


def mode() -> str | None:
    show_token()
    return os.environ.get("RAY_AUTH_MODE")


def test_without_a_token_nothing_is_shown(home: Path) -> None:
    assert mode() is None


def test_a_token_is_shown_wherever_it_is(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("x")
    assert mode() == "token"


def test_ray_that_is_imported_has_decided(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    monkeypatch.setitem(sys.modules, "ray", sys)
    assert mode() is None


def test_what_was_decided_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert mode() == "disabled"
