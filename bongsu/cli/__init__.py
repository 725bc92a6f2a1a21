"""The command line: one function a verb. Each parses, calls, and prints; the work is elsewhere.

Heavy packages are imported inside the verbs, so that `bongsu --help` answers at once.
"""

from __future__ import annotations

import os
import sys

from bongsu import progress

# Each adds its verbs to the application.
from bongsu.cli import auditing, embedding, exporting, predicting, running, searching, serving, watching  # noqa: F401
from bongsu.cli.common import app
from bongsu.cluster import show_token
from bongsu.errors import BongsuError
from bongsu.files import redacted_text
from bongsu.printable import printable


def main() -> None:
    """The entry point: errors made on purpose are printed without a traceback."""
    show_token()
    try:
        app()
    except BongsuError as error:
        progress.console.print(f"[red]error:[/red] {progress.escape(printable(redacted_text(str(error))))}", soft_wrap=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
