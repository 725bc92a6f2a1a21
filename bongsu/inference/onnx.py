"""The engines of a bundle's detector: float32, and int8 with scales of activations chosen as they come."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime

from bongsu.errors import WorkspaceError
from bongsu.inference.bundle import DETECTOR, DETECTOR_INT8, Bundle
from bongsu.inference.prediction import Float32
from bongsu.tokens.inputs import Int64, pad
from bongsu.tokens.special import MASK_ID, PAD_ID

Choice = Literal["auto", "float32", "int8"]

STEP = 8
"""float32 rounds lengths up to this: a text always has the same shape, whatever it is batched with."""
_TRIALS = 30  # single texts by which an engine is chosen...
_TRIAL_LENGTH = 24  # ...of so many tokens
_GAIN = 1.1  # how much faster int8 must be to be worth its loss


class Engine:
    """A graph from token ids to class probabilities. A text's answer does not depend on the texts beside it."""

    def __init__(self, name: Literal["float32", "int8"], path: Path, shortest: int, pad_id: int = PAD_ID) -> None:
        self.name = name
        self._session = open_session(path)
        self._shortest = shortest
        self._pad_id = pad_id

    def run(self, ids: Sequence[Int64]) -> Float32:
        """Probabilities [texts, classes] of texts of about one length.

        int8 takes them one by one, as long as they are: its activations share one scale a tensor, so that company or padding
        would change the answer. On a small model that costs no time.
        """
        if self.name == "int8":
            return np.concatenate([self._run(pad([row], 1, self._pad_id)) for row in ids])
        return self._run(pad(ids, STEP, self._pad_id))

    def _run(self, input_ids: Int64) -> Float32:
        missing = self._shortest - input_ids.shape[1]
        if missing > 0:
            input_ids = np.pad(input_ids, ((0, 0), (0, missing)), constant_values=self._pad_id)
        return np.asarray(self._session.run(None, {"input_ids": input_ids})[0], dtype=np.float32)


def choose_engine(bundle: Bundle, choice: Choice, shortest: int, int8_accurate: bool, pad_id: int = PAD_ID) -> Engine:
    """The engine asked for. With "auto": int8 when it lost little at export and is faster here, which not every processor is.

    Raises:
        WorkspaceError: when int8 is asked for and the bundle has none.
    """
    if choice == "int8":
        if not bundle.has(DETECTOR_INT8):
            raise WorkspaceError(f"{bundle.path}: has no int8 engine; export it with `bongsu export RUN --to onnx --int8`.")
        return Engine("int8", bundle.path / DETECTOR_INT8, shortest, pad_id)
    exact = Engine("float32", bundle.path / DETECTOR, shortest, pad_id)
    if choice == "float32" or not (bundle.has(DETECTOR_INT8) and int8_accurate):
        return exact
    small = Engine("int8", bundle.path / DETECTOR_INT8, shortest, pad_id)
    slow, fast = _seconds(exact, small)
    return small if slow > _GAIN * fast else exact


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """A session of one thread.

    Raises:
        WorkspaceError: when ONNX Runtime cannot read the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises errors of its own kinds
        raise WorkspaceError(f"{path}: ONNX Runtime cannot open it ({error}). Export the run again.") from None


def _seconds(*engines: Engine) -> list[float]:
    """The least time each takes for a text. In turns, and texts so short that other work on the machine misses some."""
    text = [np.full(_TRIAL_LENGTH, MASK_ID, dtype=np.int64)]
    least = [math.inf] * len(engines)
    for _ in range(_TRIALS):
        for number, engine in enumerate(engines):
            start = time.perf_counter()
            engine.run(text)
            least[number] = min(least[number], time.perf_counter() - start)
    return least
