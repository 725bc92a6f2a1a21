"""Paths that a stranger's recipe may name: nothing outside of the places they name, and no secret of the environment."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bongsu.corpus.streams import list_files, open_bytes
from bongsu.errors import DataError


def test_a_template_of_a_stranger_does_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "geheim")
    template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    references = {"version": 1, "templates": {"u": template}, "refs": {"a.txt": ["{{u}}"]}}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(references).encode())

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/b.json"
            for path in (f"reference://a.txt::{url}", f"REFERENCE://a.txt::{url}", f"file://x::reference://a.txt::{url}"):
                for work in (list_files, open_bytes):
                    with pytest.raises(DataError, match="URLs of this kind are not read"):
                        work(path)
        finally:
            server.shutdown()
            thread.join()
    assert asked == []


@pytest.mark.parametrize("path", ["bongsu:../errors.py", "bongsu:/etc/hostname", "bongsu:x/../../errors.py"])
def test_a_name_of_the_package_stays_in_its_data(path: str) -> None:
    with pytest.raises(DataError, match="no such file in the package"):
        list_files(path)


def test_links_lead_to_nothing_outside_of_the_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "data", tmp_path / "outside"
    for each in (folder, outside):
        each.mkdir()
        (each / "a.txt").write_text("text")
    (folder / "file.txt").symlink_to(outside / "a.txt")
    (folder / "folder").symlink_to(outside)
    (folder / "inside.txt").symlink_to(folder / "a.txt")
    for path in (str(folder), f"file://{folder}", f"{folder}/*.txt"):
        found = list_files(path)
        assert sorted(Path(file.removeprefix("file://")).name for file in found.files) == ["a.txt", "inside.txt"]
        assert found.left_out["link out of the folder"] == 1
    assert list_files(str(folder)).left_out["linked folder"] == 1
