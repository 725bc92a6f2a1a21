"""The folder of this file is importable, so that its tests and their subprocesses share `watching`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
