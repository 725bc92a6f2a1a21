"""An exported bundle at work: ONNX Runtime and the tokenizer, no torch.

Small models gain nothing from several threads a batch and lose much under load, so a batch has one thread, and as many
batches run at a time as there are cores.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import onnxruntime

from bongsu.arrays import Float32, Int64
from bongsu.errors import DataError, WorkspaceError
from bongsu.inference.bundle import MASKED_LM, MODEL, MODEL_INT8, Bundle, open_bundle
from bongsu.inference.predictor import ModelDetails, Predictor
from bongsu.model.tfidf import FILES as TFIDF_FILES
from bongsu.model.tfidf import load_tfidf
from bongsu.parallel import cores
from bongsu.printable import printable
from bongsu.tokens.bpe import TOKENIZER, load_tokenizer
from bongsu.tokens.inputs import Encoded, cleaned, pad
from bongsu.tokens.special import MASK, MASK_ID, PAD_ID, special_tokens

Choice = Literal["auto", "float32", "int8", "fastest"]
"""Which engine answers: "auto" the one that the export chose, "fastest" the one that is faster on this machine."""
FIXED_SCALES = "fixed_scales"
"""Set in the metadata of an int8 graph whose activations have scales fixed at export."""

STEP = 8
"""float32 rounds lengths up to this: a text always has the same shape, whatever it is batched with."""
_BATCH = 8  # on one thread more texts at a time are no faster, and take more memory
_TRIALS = 30  # of a single text and of a batch, by which an engine is chosen...
_TRIAL_LENGTH = 24  # ...texts of so many tokens
_GAIN = 1.1  # how much faster int8 must be to be worth its loss


_EXTERNAL = b"\n\x08location\x12"
"""How a tensor of an ONNX file says that its data are in another file: the key of an `external_data` entry."""


class Graph(NamedTuple):
    """What a graph gives for rows of one padded length."""

    outputs: Float32
    """[B, n_outputs] or [B, L, n_outputs], the head's."""
    pooled: Float32
    """[B, d_model], the mean of the token vectors."""


class Engine:
    """A graph from token ids to outputs. A text's answer does not depend on the texts it is batched with."""

    def __init__(self, name: Literal["float32", "int8"], path: Path, shortest: int, pad_id: int = PAD_ID) -> None:
        self.name = name
        self._session = open_session(path)
        self._batched = name == "float32" or FIXED_SCALES in self._session.get_modelmeta().custom_metadata_map
        self._pairs = len(self._session.get_inputs()) > 1
        self._shortest = shortest
        self._pad_id = pad_id

    def run(self, rows: Sequence[Encoded]) -> list[Graph]:
        """Return what the graph gives for each row of about one length, with one row in each `Graph`.

        int8 without fixed scales takes rows one by one, as long as they are: its activations share one scale a tensor, so
        that other rows or padding would change the answer.
        """
        if not self._batched:
            return [self._run([row], 1) for row in rows]
        batch = self._run(rows, STEP)
        return [Graph(batch.outputs[n : n + 1], batch.pooled[n : n + 1]) for n in range(len(rows))]

    def feed(self, rows: Sequence[Encoded], step: int = STEP) -> dict[str, Int64]:
        """Return what the graph takes for rows: its inputs by their names, each [rows, length]."""
        inputs = {"input_ids": self._padded([row.ids for row in rows], step, self._pad_id)}
        if self._pairs:
            inputs["text_ids"] = self._padded([_texts_of(row) for row in rows], step, 0)
        return inputs

    def _run(self, rows: Sequence[Encoded], step: int) -> Graph:
        outputs, pooled = self._session.run(["outputs", "pooled"], self.feed(rows, step))
        return Graph(np.asarray(outputs, dtype=np.float32), np.asarray(pooled, dtype=np.float32))

    def _padded(self, rows: Sequence[Int64], step: int, value: int) -> Int64:
        table = pad(rows, step, value)
        missing = self._shortest - table.shape[1]
        return np.pad(table, ((0, 0), (0, missing)), constant_values=value) if missing > 0 else table


class OnnxBackend:
    """Runs an engine on as many batches at a time as there are cores."""

    def __init__(self, engine: Engine, pool: ThreadPoolExecutor) -> None:
        self.engine = engine
        self._pool = pool

    def run(self, rows: Sequence[Encoded]) -> list[Float32]:
        """Return the head's outputs of each row, [n_outputs] or [L, n_outputs], in the order given."""
        return self.read(rows)[0]

    def embed(self, rows: Sequence[Encoded]) -> Float32:
        """Return the mean of each row's token vectors, [rows, d_model]."""
        return self.read(rows)[1]

    def read(self, rows: Sequence[Encoded]) -> tuple[list[Float32], Float32]:
        """Return what `run` and `embed` do, in one pass."""
        graphs = self._run(rows)
        outputs = [
            graph.outputs[0] if graph.outputs.ndim == 2 else graph.outputs[0, : len(row.ids)]
            for row, graph in zip(rows, graphs, strict=True)
        ]
        return outputs, np.concatenate([graph.pooled for graph in graphs]) if graphs else np.zeros((0, 0), dtype=np.float32)

    def _run(self, rows: Sequence[Encoded]) -> list[Graph]:
        batches = list(_batches([len(row.ids) for row in rows]))
        results = self._pool.map(lambda numbers: self.engine.run([rows[number] for number in numbers]), batches)
        placed: dict[int, Graph] = {}
        for numbers, graphs in zip(batches, results, strict=True):
            placed.update(zip(numbers.tolist(), graphs, strict=True))
        return [placed[number] for number in range(len(rows))]


class BundlePredictor(Predictor):
    """Answers texts with a bundle; may be used by many threads at once."""

    def __init__(self, bundle: Bundle, engine: Choice = "auto", sessions: int | None = None) -> None:
        config = bundle.config()
        tokenizer = load_tokenizer(bundle.file(TOKENIZER).parent, foreign=True)
        pad_id = special_tokens(tokenizer).pad
        if engine == "auto" and "int8_faster" not in config:  # written by an earlier version
            engine = "fastest"
        good = config["int8_accurate"] and (engine == "fastest" or config["int8_faster"])
        chosen = choose_engine(bundle, engine, config["shortest"], good, pad_id)
        self._pool = ThreadPoolExecutor(sessions or cores(), thread_name_prefix="bongsu-predict")
        details = ModelDetails.from_dict(config["model"])
        tfidf = load_tfidf(bundle.path) if all(map(bundle.has, TFIDF_FILES)) else None
        super().__init__(details, tokenizer, OnnxBackend(chosen, self._pool), tfidf)
        self.name: str = config["name"]
        """The recipe's."""
        self.bundle = bundle
        self.version = bundle.version
        self.engine: str = chosen.name
        """The engine in use: "float32" or "int8"."""
        self._masked_lm = open_session(bundle.file(MASKED_LM)) if bundle.has(MASKED_LM) else None

    @classmethod
    def load(cls, folder: Path, engine: Choice = "auto", sessions: int | None = None) -> BundlePredictor:
        """Open a bundle that `bongsu export --to onnx` wrote.

        Args:
            engine: "auto" is the one that the export chose; "fastest" tries both for a moment, since int8 is not faster on
                every processor.
            sessions: how many batches run at a time, one thread each; by default as many as there are cores.

        Raises:
            WorkspaceError: when the folder is no such bundle, or a file in it was changed.
        """
        bundle = open_bundle(folder)
        if bundle.kind != "onnx":
            raise WorkspaceError(f"{folder}: a bundle of kind {bundle.kind!r}; export one with `bongsu export RUN --to onnx`.")
        try:
            return cls(bundle, engine, sessions)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:  # signed by whoever wrote it
            what = f"{type(error).__name__}: {printable(str(error), 200)}"
            raise WorkspaceError(f"{folder}: not a bundle that `bongsu export` wrote ({what}).") from error

    @property
    def fills_masks(self) -> bool:
        """Whether the bundle carries the masked language model."""
        return self._masked_lm is not None

    def fill_mask(self, text: str, top_k: int = 5) -> list[list[tuple[str, float]]]:
        """Return for each [MASK] of the text the `top_k` likeliest tokens with their probabilities.

        A [MASK] takes the blank before it along, since tokens that begin a word begin with theirs.

        Raises:
            DataError: when the text has no [MASK] within the model's length, or the bundle has no masked language model.
        """
        if self._masked_lm is None:
            raise DataError("This bundle carries no masked language model; export one from a run that pre-trains its encoder.")
        longest = self.task.settings.max_length
        parts = re.split(rf"\s*{re.escape(MASK)}", cleaned(self.task.cleaner, [text])[0])
        first, *others = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(parts)]
        joined = first + [token for ids in others for token in (MASK_ID, *ids)]
        ids = np.array(joined[:longest], dtype=np.int64)
        masked = np.flatnonzero(ids == MASK_ID)
        if len(masked) == 0:
            raise DataError(f"Put {MASK} where a word is to be guessed, within the first {longest} tokens.")
        inputs = {"input_ids": ids[None], "query_positions": masked}
        table = self._pool.submit(self._masked_lm.run, None, inputs).result()[0]  # [masks, vocab_size]
        return [self._likeliest(row, top_k) for row in table]

    def close(self) -> None:
        """Wait for what is running and end the threads."""
        self._pool.shutdown()

    def _likeliest(self, row: Float32, top_k: int) -> list[tuple[str, float]]:
        best = np.argsort(-row, kind="stable")[:top_k]
        return [(self.tokenizer.decode([int(index)], skip_special_tokens=False), float(row[index])) for index in best]


def choose_engine(bundle: Bundle, choice: Choice, shortest: int, int8_good: bool, pad_id: int = PAD_ID) -> Engine:
    """Return the engine asked for. With "auto" int8 when it is good, with "fastest" only if it is also faster here.

    Args:
        int8_good: whether int8 lost little at export, and for "auto" was faster there.

    Raises:
        WorkspaceError: when the bundle has no such engine.
    """

    def opened(name: Literal["float32", "int8"]) -> Engine:
        return Engine(name, bundle.file(MODEL if name == "float32" else MODEL_INT8), shortest, pad_id)

    if choice == "int8" and not bundle.has(MODEL_INT8):
        raise WorkspaceError(f"{bundle.path}: has no int8 engine; export it with `bongsu export RUN --to onnx --int8`.")
    int8_alone = bundle.has(MODEL_INT8) and not (bundle.path / MODEL).exists()
    if choice == "float32" and int8_alone:
        raise WorkspaceError(f"{bundle.path}: holds the int8 engine alone; ask for int8, or for auto.")
    int8_good = int8_good and bundle.has(MODEL_INT8)
    if choice == "int8" or int8_alone or (choice == "auto" and int8_good):
        return opened("int8")
    if choice != "fastest" or not int8_good:
        return opened("float32")
    exact, small = opened("float32"), opened("int8")
    return small if is_faster(small, exact) else exact


def is_faster(small: Engine, exact: Engine) -> bool:
    """Return whether `small` is so much faster on this machine, one by one and in batches, as to be worth a loss."""
    slow, fast = _seconds(exact, small)
    return slow > _GAIN * fast


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Return a session of one thread.

    Raises:
        WorkspaceError: when ONNX Runtime cannot read the file, or the file keeps weights in others, which no manifest guards.
    """
    if path.is_file() and _EXTERNAL in path.read_bytes():
        raise WorkspaceError(f"{path}: keeps its weights in another file; such models are not opened. Export the run again.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library raises errors of its own kinds
        raise WorkspaceError(f"{path}: ONNX Runtime cannot open it ({error}). Export the run again.") from None


def _texts_of(row: Encoded) -> Int64:
    return np.zeros(len(row.ids), dtype=np.int64) if row.text_ids is None else row.text_ids


def _batches(lengths: Sequence[int]) -> Iterator[Int64]:
    """Yield row numbers of texts of one padded length each, the longest first."""
    steps = np.array([-(-length // STEP) for length in lengths])
    for step in np.unique(steps)[::-1]:
        rows = np.flatnonzero(steps == step)
        yield from (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))


def _seconds(*engines: Engine) -> list[float]:
    """Return the least time each takes for as many single texts as are in a batch, and that batch.

    In turns, and in calls so short that other work on the machine misses some.
    """
    text = Encoded(np.full(_TRIAL_LENGTH, MASK_ID, dtype=np.int64))
    least = np.full((len(engines), 2), np.inf)
    for _ in range(_TRIALS):
        for number, engine in enumerate(engines):
            for kind, rows in enumerate(([text], [text] * _BATCH)):
                start = time.perf_counter()
                engine.run(rows)
                least[number, kind] = min(least[number, kind], time.perf_counter() - start)
    seconds: list[float] = (least @ [_BATCH, 1]).tolist()
    return seconds
