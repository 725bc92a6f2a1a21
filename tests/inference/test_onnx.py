"""The ONNX engine against torch, alone and in company, for heads of texts and of tokens, of one text and of two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import onnx
import pytest
import torch

from bongsu.errors import WorkspaceError
from bongsu.export.onnx import export_task_model
from bongsu.export.quantization import quantize
from bongsu.inference.bundle import open_bundle
from bongsu.inference.onnx import BundlePredictor, Engine, OnnxBackend, choose_engine, open_session
from bongsu.inference.torch_backend import TorchBackend
from bongsu.model.encoder import Encoder, EncoderConfig
from bongsu.model.heads import CNNConfig, HeadConfig, PairConfig, TokenConfig
from bongsu.model.initialization import initialize
from bongsu.model.task_model import TaskModel
from bongsu.tokens.inputs import Encoded

pytestmark = pytest.mark.slow

LONGEST = 48
SHAPES: dict[str, tuple[HeadConfig, bool]] = {
    "texts": (CNNConfig(3, (2, 5), 6), False),
    "pairs": (CNNConfig(2, (1, 3), 6), True),
    "compared": (PairConfig(2), True),
    "tokens": (TokenConfig(5), False),
}


class Exported(NamedTuple):
    """A model, and its graphs in a folder."""

    model: TaskModel
    folder: Path


@pytest.fixture(scope="module", params=list(SHAPES))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    config = EncoderConfig(90, "modern", 16, 2, 2, 24, "geglu", 0.1, LONGEST)
    model = TaskModel(Encoder(config), *SHAPES[request.param]).eval()
    initialize(model, 1)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    folder = tmp_path_factory.mktemp("graph")
    export_task_model(model, folder / "exact.onnx")
    quantize(folder / "exact.onnx", folder / "small.onnx")
    exact = Engine("float32", folder / "exact.onnx", model.head.config.shortest)
    quantize(folder / "exact.onnx", folder / "fixed.onnx", [exact.feed([row], step=1) for row in rows_of(model)])
    return Exported(model, folder)


def rows_of(model: TaskModel, count: int = 40) -> list[Encoded]:
    """Rows of 1 to the most tokens."""
    draw = np.random.default_rng(3)
    rows: list[Encoded] = []
    for length in [1, 2, LONGEST, *draw.integers(1, LONGEST, count).tolist()]:
        first = int(draw.integers(0, length + 1))
        text_ids = np.array([0] * first + [1] * (length - first)) if model.pairs else None
        rows.append(Encoded(draw.integers(3, 90, length), text_ids, example=len(rows)))
    return rows


File = Literal["exact", "small", "fixed"]
FILES: tuple[File, ...] = ("exact", "small", "fixed")
"""A graph in float32, in int8 with scales for every text, and in int8 with scales for all."""


def engine(exported: Exported, file: File = "exact") -> Engine:
    name: Literal["float32", "int8"] = "float32" if file == "exact" else "int8"
    return Engine(name, exported.folder / f"{file}.onnx", exported.model.head.config.shortest)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def apart(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """The largest difference between two lists of tables of the same shapes."""
    assert [table.shape for table in ours] == [table.shape for table in theirs]
    return max(float(np.abs(one - other).max()) for one, other in zip(ours, theirs, strict=True))


def test_outputs_and_pooled_vectors_are_those_of_torch(exported: Exported, pool: ThreadPoolExecutor) -> None:
    rows, theirs = rows_of(exported.model), TorchBackend(exported.model)
    ours = OnnxBackend(engine(exported), pool)
    outputs, pooled = theirs.run(rows), theirs.embed(rows)
    assert float(np.std(np.concatenate([table.ravel() for table in outputs]))) > 0.1
    assert apart(ours.run(rows), outputs) < 1e-5
    assert apart([ours.embed(rows)], [pooled]) < 1e-5
    widths = {table.shape for table in outputs}
    one_answer = isinstance(exported.model.head.config, CNNConfig | PairConfig)
    assert len(widths) == 1 if one_answer else {shape[0] for shape in widths} == {len(row.ids) for row in rows}


@pytest.mark.parametrize("file", ["exact", "small", "fixed"])
def test_an_answer_does_not_depend_on_its_batch(exported: Exported, pool: ThreadPoolExecutor, file: File) -> None:
    rows = rows_of(exported.model)
    backend = OnnxBackend(engine(exported, file), pool)
    outputs, pooled = backend.run(rows), backend.embed(rows)
    limit = 1e-7 if file == "small" else 1e-5
    assert apart(outputs, [backend.run([row])[0] for row in rows]) < limit
    assert apart([pooled], [np.concatenate([backend.embed([row]) for row in rows])]) < limit
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = backend.run([rows[number] for number in order])
    assert apart(shuffled, [outputs[number] for number in order]) < limit


@pytest.mark.parametrize("file", ["small", "fixed"])
def test_int8_is_close_and_not_the_same(exported: Exported, pool: ThreadPoolExecutor, file: File) -> None:
    rows = rows_of(exported.model)
    exact, small = (OnnxBackend(engine(exported, name), pool).run(rows) for name in ("exact", file))
    assert 1e-6 < apart(exact, small) < 0.2 * max(float(np.abs(table).max()) for table in exact)


def test_with_fixed_scales_batches_are_made_and_nothing_is_rounded_by_its_own_text(exported: Exported) -> None:
    kinds = {file: [node.op_type for node in onnx.load(exported.folder / f"{file}.onnx").graph.node] for file in FILES}
    assert kinds["fixed"].count("MatMulIntegerToFloat") == kinds["small"].count("MatMulInteger") > 8
    assert not {"DynamicQuantizeLinear", "MatMulInteger"} & set(kinds["fixed"])
    rows, sizes = rows_of(exported.model), dict[str, list[int]]()
    for file in FILES:
        found = engine(exported, file)
        sizes[file] = []
        run = found._run

        def counted(rows: Any, step: int, file: str = file, run: Any = run) -> Any:
            sizes[file].append(len(rows))
            return run(rows, step)

        found._run = counted  # type: ignore[method-assign]
        found.run(rows[:4])
    assert sizes == {"exact": [4], "small": [1, 1, 1, 1], "fixed": [4]}


@pytest.mark.parametrize("exported", ["pairs", "compared"], indirect=True)
def test_texts_of_pairs_are_told_apart(exported: Exported, pool: ThreadPoolExecutor) -> None:
    backend, ids = OnnxBackend(engine(exported), pool), np.arange(3, 15)
    one, other = (backend.run([Encoded(ids, np.array([0] * first + [1] * (12 - first)))])[0] for first in (4, 9))
    assert np.abs(one - other).max() > 1e-3
    nothing = backend.run([Encoded(ids)])[0]
    assert apart([nothing], [backend.run([Encoded(ids, np.zeros(12, dtype=np.int64))])[0]]) == 0


def test_the_engine_asked_for_is_the_one_in_use(bundle: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle)
    for choice in ("float32", "int8"):
        assert choose_engine(opened, choice, 3, True).name == choice
    assert choose_engine(opened, "auto", 3, False).name == "float32"
    assert choose_engine(opened, "auto", 3, True).name == "int8"
    assert choose_engine(opened, "fastest", 3, False).name == "float32"
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(WorkspaceError, match="ONNX Runtime cannot open it"):
        open_session(tmp_path / "broken.onnx")


def test_the_faster_engine_is_chosen(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, name in (([1.2, 1.0], "int8"), ([1.05, 1.0], "float32"), ([1.0, 2.0], "float32")):
        monkeypatch.setattr("bongsu.inference.onnx._seconds", lambda *engines, seconds=seconds: seconds)
        assert choose_engine(open_bundle(bundle), "fastest", 3, True).name == name


def test_a_bundle_of_another_kind_is_refused(made_run: Path, tmp_path: Path) -> None:
    from bongsu.export.bundle import export_hf

    export_hf(made_run, tmp_path / "hf")
    with pytest.raises(WorkspaceError, match="a bundle of kind 'hf'"):
        BundlePredictor.load(tmp_path / "hf")
