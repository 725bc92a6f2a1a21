"""The command line: one function a verb. Each parses, calls, and prints; the work is elsewhere.

Heavy packages are imported inside the verbs, so that `bongsu --help` answers at once.
"""

from __future__ import annotations

import os
import sys

from bongsu import progress

# Each adds its verbs to the application.
from bongsu.cli import (  # noqa: F401
    auditing,
    embedding,
    exporting,
    inspecting,
    labelling,
    predicting,
    running,
    searching,
    serving,
    starting,
    watching,
)
from bongsu.cli.common import app as app
from bongsu.cli.contents import arrange
from bongsu.cluster import show_token
from bongsu.errors import BongsuError
from bongsu.files import redacted_text
from bongsu.printable import printable

arrange(app)


def main() -> None:
    """The entry point: errors made on purpose are printed without a traceback."""
    show_token()
    try:
        app()
    except BongsuError as error:
        lines = map(printable, redacted_text(str(error)).splitlines())
        progress.console.print(f"[red]error:[/red] {progress.escape(chr(10).join(lines))}", soft_wrap=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
