"""What `deploy/` runs are commands that this Bongsu understands, and files that the container needs are in the checkout."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from bongsu.cli import app

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


def commands() -> list[list[str]]:
    docker = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    unit = (DEPLOY / "bongsu.service").read_text(encoding="utf-8")
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    found = [json.loads(re.findall(r"^CMD (\[.*\])$", docker, re.MULTILINE)[-1])]
    found += [service["command"] for service in services.values()]
    found += [shlex.split(line)[1:] for line in re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)]
    found += [["serve", *match.split()] for match in re.findall(r"`bongsu serve (--root-path \S+)`", nginx())]
    return found


def nginx() -> str:
    return (DEPLOY / "nginx.conf").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_its_commands_are_understood(words: list[str]) -> None:
    verb = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    verb.make_context(words[0], words[1:])


def test_there_are_as_many_as_files_name() -> None:
    assert [words[0] for words in commands()] == ["serve", "serve", "watch", "serve", "serve"]


def test_the_container_copies_what_is_there_and_runs_as_nobody_else() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert "torch" not in "".join(line for line in lines if not line.startswith("#"))
    user = next(number for number, line in enumerate(lines) if line.startswith("USER "))
    assert user < next(number for number, line in enumerate(lines) if line.startswith("ENTRYPOINT "))
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
