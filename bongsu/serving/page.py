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
    """The page, and its Content-Security-Policy: its own script and style by their hashes, requests to this server only."""
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
    """Type or paste messages and see the verdicts; what a running watch tells."""
    html, policy = _page()
    html = html.replace("$ITEMS", str(limits.items)).replace("$EXPLAINED", str(limits.explanations))
    return HTMLResponse(html, headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"})
