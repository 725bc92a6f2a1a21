"""The prefix of a proxy, and the API key, which is compared before the body of a request is read."""

from __future__ import annotations

import secrets
from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from bongsu.serving.api_errors import ApiError


class Prefix:
    """ASGI middleware for a proxy that serves the application under a prefix, whether or not the proxy removes it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            whole = path if path.startswith(f"{self._prefix}/") else self._prefix + path
            scope = {**scope, "root_path": self._prefix, "path": whole}
        await self._app(scope, receive, send)


class RequireKey:
    """ASGI middleware that answers 401 unless the request carries the key; paths that are open need none.

    Keys are compared as bytes, for a header has no encoding: any key that is UTF-8 can be sent as it is.
    """

    def __init__(self, app: ASGIApp, key: bytes | None, open_paths: Collection[str], open_folders: tuple[str, ...]) -> None:
        """
        Args:
            key: None lets everybody in.
            open_paths: paths that need no key.
            open_folders: beginnings of paths that need no key.
        """
        self._app = app
        self._key = key
        self._open_paths = open_paths
        self._open_folders = open_folders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._key is not None and not self._is_open(route_path(scope)):
            sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            scheme, _, key = sent.partition(b" ")
            if scheme.lower() != b"bearer" or not secrets.compare_digest(key.strip(), self._key):
                error = ApiError(401, "An API key is needed: send the header `Authorization: Bearer KEY`.")
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._open_paths or path.startswith(self._open_folders)


def route_path(scope: Scope) -> str:
    """Return the path as the routes spell it: without the prefix under which a proxy serves the application."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path
