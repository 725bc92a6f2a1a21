"""The int8 engine: weights rounded to 8 bits a column and embeddings to 8 bits a row, activations by scales fixed at export.

The scales come from texts of the run. Without texts activations are rounded as they come (dynamic quantisation), which cannot
be batched: texts would share a scale.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from bongsu.arrays import Int64
from bongsu.files import write_bytes
from bongsu.finetuning.data import AnyExample
from bongsu.inference.onnx import FIXED_SCALES, open_session
from bongsu.inference.predictor import Predictor

LARGEST_LOSS = 0.5
"""Percentage points of the main metric that int8 may lose and still be chosen by itself."""


@dataclass(frozen=True)
class Int8Loss:
    """What int8 costs, on rows with labels."""

    rows: int
    source: str
    """Which rows of the run: "test rows" or "rows held out"."""
    metric: str
    """The title of the task's main metric, higher being better."""
    float32: float
    int8: float
    changed: int
    """Rows with another answer."""

    @property
    def points(self) -> float:
        """Percentage points of the metric lost; negative when int8 happens to be better."""
        return 100 * (self.float32 - self.int8)

    @property
    def change(self) -> str:
        """What int8 does to the metric, in words: "0.32 points lost", "0.05 points gained", "nothing lost"."""
        size = f"{abs(self.points):.2f}"
        if float(size) == 0.0:
            return "nothing lost"
        return f"{size} points {'lost' if self.points > 0 else 'gained'}"

    @property
    def accurate(self) -> bool:
        return self.points <= LARGEST_LOSS


def quantize(exact: Path, small: Path, texts: Sequence[dict[str, Int64]] = ()) -> None:
    """Write an int8 copy of a graph. Products with a weight and rows of embeddings are rounded.

    Weights use 7 bits of the 8: processors without VNNI add pairs of products in 16 bits, which 8 bits would overflow.

    Args:
        texts: inputs of the graph, one text each, whose activations choose the scales of all others; without any, every
            text's activations have scales of their own.
    """
    logging.getLogger().disabled = True  # onnxruntime advises a preparation that our graphs do not need
    try:
        quantize_dynamic(
            exact, small, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"]
        )
    finally:
        logging.getLogger().disabled = False
    model = onnx.load(small)
    if texts:
        _fix_scales(model, _ranges(model, small.with_suffix(".trial"), texts))
    _round_embeddings(model)
    write_bytes(small, model.SerializeToString())


def _ranges(model: Any, path: Path, texts: Iterable[dict[str, Int64]]) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest activation that each rounding node of a graph meets in texts, by the node's input.

    Args:
        path: where a trial graph is written for a moment.
    """
    rounding = [node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"]
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8)
    for node in rounding:
        trial.graph.output.extend(
            helper.make_tensor_value_info(name, kind, []) for name, kind in zip(node.output[1:], kinds, strict=True)
        )
    try:
        write_bytes(path, trial.SerializeToString())
        session = open_session(path)
    finally:
        path.unlink(missing_ok=True)
    names = [name for node in rounding for name in node.output[1:]]
    found = np.array([session.run(names, text) for text in texts], dtype=np.float64)
    scale, zero = found[:, ::2], found[:, 1::2]  # each [texts, nodes]
    least, greatest = (-zero * scale).min(axis=0), ((255 - zero) * scale).max(axis=0)
    return {node.input[0]: (low, high) for node, low, high in zip(rounding, least.tolist(), greatest.tolist(), strict=True)}


def _fix_scales(model: Any, ranges: dict[str, tuple[float, float]]) -> None:
    """Give each rounding node its scale for good, and join each product in integers with the scaling of its result.

    What `quantize_dynamic` writes for a product is MatMulInteger, a cast of the result and a product with both scales.
    """
    graph = model.graph
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    written = {name: node for node in graph.node for name in node.output}
    instead: dict[int, Any] = {}  # of nodes that are left out or replaced, by their identity
    for node in graph.node:
        if node.op_type == "DynamicQuantizeLinear":
            low, high = ranges[node.input[0]]
            scale = max((high - low) / 255, 1e-12)
            for name, value in zip(node.output[1:], (np.float32(scale), np.uint8(round(-low / scale))), strict=True):
                graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
            instead[id(node)] = helper.make_node("QuantizeLinear", [node.input[0], *node.output[1:]], [node.output[0]])
        elif node.op_type == "MatMulInteger":
            [cast] = readers[node.output[0]]
            [scaled] = readers[cast.output[0]]
            scales = written[next(name for name in scaled.input if name != cast.output[0])]
            rounded, weights, zero, weights_zero = node.input
            inputs = [rounded, weights, *scales.input, zero, weights_zero]
            instead.update({id(other): None for other in (node, cast, scales)})
            instead[id(scaled)] = helper.make_node("MatMulIntegerToFloat", inputs, list(scaled.output), domain="com.microsoft")
    nodes = [instead.get(id(node), node) for node in graph.node]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes if node is not None]
    del graph.node[:]
    graph.node.extend(kept)
    if all(domain.domain != "com.microsoft" for domain in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.metadata_props.add(key=FIXED_SCALES, value="true")


def _round_embeddings(model: Any) -> None:
    """Round tables [rows, columns] that rows are only looked up in, each row by a scale of its own."""
    graph = model.graph
    tables = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    for name, tensor in tables.items():
        uses = [node for node in graph.node if name in node.input]
        looked_up = all(use.op_type == "Gather" and all(each.i == 0 for each in use.attribute) for use in uses)
        if len(tensor.dims) != 2 or not uses or not looked_up:
            continue
        values = numpy_helper.to_array(tensor)
        scale = np.maximum(np.abs(values).max(axis=1, keepdims=True) / 127, 1e-12).astype(np.float32)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{name}_rounded"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        for use in uses:
            found = use.output[0]
            parts = [f"{found}_{part}" for part in ("rounded", "float", "scale")]
            nodes = [
                helper.make_node("Gather", [f"{name}_rounded", use.input[1]], parts[:1]),
                helper.make_node("Cast", parts[:1], parts[1:2], to=onnx.TensorProto.FLOAT),
                helper.make_node("Gather", [f"{name}_scale", use.input[1]], parts[2:]),
                helper.make_node("Mul", parts[1:], [found]),
            ]
            place = next(number for number, node in enumerate(graph.node) if node.output[0] == found)
            del graph.node[place]
            for node in reversed(nodes):
                graph.node.insert(place, node)


def int8_loss(exact: Predictor, small: Predictor, examples: Sequence[AnyExample], source: str) -> Int8Loss:
    """Compare the answers of both engines."""
    task, calibration = exact.task, exact.calibration
    metric = task.metrics[0]
    outputs = [predictor.outputs_of(examples) for predictor in (exact, small)]
    scores = [task.score(examples, each, calibration)[metric.name] for each in outputs]
    first, second = (map(task.key_of, task.answers(examples, each, calibration)) for each in outputs)
    changed = sum(one != other for one, other in zip(first, second, strict=True))
    return Int8Loss(len(examples), source, metric.title, scores[0], scores[1], changed)
