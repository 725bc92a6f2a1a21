"""The page at `/`: one file, nothing from outside, and a policy that lets the browser run nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from starlette.responses import HTMLResponse

from bongsu.serving.limits import Limits


@cache
def _page() -> tuple[str, str]:
    """Return the page and its Content-Security-Policy: its own script and style by hash, requests to this server alone."""
    html = (files("bongsu.serving") / "page.html").read_text(encoding="utf-8")
    [script] = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    [style] = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def page(limits: Limits) -> HTMLResponse:
    """Return the page: type or paste messages and see the predictions, and the events of a running watch."""
    html, policy = _page()
    html = html.replace("$ITEMS", str(limits.items)).replace("$EXPLAINED", str(limits.explanations))
    return HTMLResponse(html, headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"})
