"""User names, passwords and tokens in URLs of data: used to fetch, and written nowhere that others read."""

from __future__ import annotations

import base64
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bongsu.export.bundle import export_onnx
from bongsu.recipe import load_recipe, show_recipe, write_recipe

pytestmark = pytest.mark.slow

SECRET = "geheim-5c1f"
ROOT = Path(__file__).parents[1]


@pytest.fixture
def url(sentences: list[str]) -> Iterator[str]:
    """A file that is given only to who has both the password and the token."""
    body = "".join(f"{sentence}\n" for sentence in sentences).encode()
    basic = "Basic " + base64.b64encode(f"user:{SECRET}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization") == basic and f"token={SECRET}" in self.path
            self.send_response(200 if allowed and "texts" in self.path else 403)
            self.send_header("Content-Length", str(len(body) if allowed else 0))
            self.end_headers()
            if allowed:
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://user:{SECRET}@127.0.0.1:{server.server_address[1]}/texts.txt?token={SECRET}"
        server.shutdown()
        thread.join()


def bongsu(*words: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "from bongsu.cli import main; main()", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300"}
    return subprocess.run(command, capture_output=True, env=environment, check=False)


def leaks(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path.relative_to(folder)) for path in files if SECRET.encode() in path.read_bytes()]


def test_a_corpus_keeps_no_secret_but_in_the_recipe_of_its_owner(url: str, tmp_path: Path) -> None:
    recipe, run = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text(f'name = "secret"\n[[corpus.sources]]\npath = "{url}"\n')
    done = bongsu("prepare", recipe, "--out", run)
    assert done.returncode == 0, done.stderr.decode()
    assert SECRET.encode() not in done.stdout + done.stderr
    assert leaks(run) == ["recipe.toml"]
    assert stat.S_IMODE((run / "recipe.toml").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "{run}", "--input", "{url}"],
        ["audit", "{url}"],
        ["prepare", "{recipe}"],
        ["init", "{url}"],
    ],
    ids=lambda words: words[0],
)
def test_errors_show_no_secret(url: str, made_run: Path, tmp_path: Path, words: list[str]) -> None:
    missing = url.replace("texts", "other")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'name = "secret"\n[[corpus.sources]]\npath = "{missing}"\n')
    done = bongsu(
        *[word.format(run=made_run, url=missing, recipe=recipe) for word in words],
        *(["--out", tmp_path / "run"] * (words[0] == "prepare")),
    )
    shown = (done.stdout + done.stderr).decode()
    assert done.returncode == 1
    assert "403" in shown
    assert SECRET not in shown


@pytest.mark.usefixtures("known_graphs")
def test_an_export_holds_no_secret(url: str, made_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(made_run, tmp_path / "run")
    recipe = load_recipe(run / "recipe.toml")
    assert recipe.task is not None
    secret = recipe.model_copy(update={"task": recipe.task.model_copy(update={"train": url, "test": url})})
    write_recipe(run / "recipe.toml", secret)
    assert load_recipe(run / "recipe.toml") == secret
    assert SECRET not in show_recipe(secret)
    for words in (["info", run], ["compare", run, made_run]):
        done = bongsu(*words)
        shown = (done.stdout + done.stderr).decode()
        assert SECRET not in shown
    export_onnx(run, tmp_path / "bundle")
    assert leaks(tmp_path / "bundle") == []
    write_recipe(run / "recipe.toml", recipe)
    assert stat.S_IMODE((run / "recipe.toml").stat().st_mode) & 0o400
