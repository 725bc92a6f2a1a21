"""The page at `/`: one file, nothing from outside, and a policy that lets the browser run nothing else.

It is put together from `web/`: `index.html`, `style.css`, and scripts. A section of the page is one script, with its words in
English and Korean, and one `<section>` in `index.html`; to add one, write both and name the script in `_SCRIPTS`.
"""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from importlib.resources import files

import orjson
from starlette.responses import HTMLResponse

from bongsu.serving.service import Service
from bongsu.tasks.classification import ClassificationTask

_SCRIPTS = ("base.js", "watch.js", "labels.js", "drift.js", "files.js", "classify.js")


@cache
def _page() -> tuple[str, str]:
    """Return the page and its Content-Security-Policy: its own script and style by hash, requests to this server alone."""
    folder = files("bongsu.serving") / "web"

    def read(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    script = '"use strict";\n' + "\n".join(map(read, _SCRIPTS))
    style = read("style.css")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return read("index.html").replace("$STYLE", style).replace("$SCRIPT", script), policy


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def page(service: Service) -> HTMLResponse:
    """Return the page: classify messages and files, and the events of a running watch."""
    text, policy = _page()
    text = text.replace("$ABOUT", html.escape(orjson.dumps(_about(service)).decode()))
    return HTMLResponse(text, headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"})


def _about(service: Service) -> dict[str, object]:
    """Return what the page must know of this server and its model."""
    predictor = service.holder.model.predictor
    task = predictor.task
    classes = task.names if isinstance(task, ClassificationTask) else []
    return {
        "kind": task.kind,
        "classes": classes,
        "alarm": classes[-1] if len(classes) == 2 else None,
        "threshold": predictor.threshold if len(classes) == 2 else None,
        "demonstration": task.settings.train.startswith("bongsu:"),
        "watches": service.watches,
        "labels": service.desk is not None,
        "drift": service.drift is not None,
        "items": service.limits.items,
        "explained": service.limits.explanations,
        "characters": service.limits.characters,
        "bytes": service.limits.body_bytes,
    }
