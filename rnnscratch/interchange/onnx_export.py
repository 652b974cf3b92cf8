"""Layers, classifiers and language models as ONNX graphs, which ONNX Runtime and others run.

Inputs are x (T, B, D), or ids (T, B) of int64, and lengths (B,) of int32, which are 1 to T; T and B may differ from run
to run. Gates come as i, o, f, c in ONNX's LSTM and z, r, h in its GRU, each with two biases.
"""

from __future__ import annotations

import json
import os
from importlib import import_module
from typing import Any

import numpy as np

from .. import __version__
from ..backend import to_cpu
from ..files import atomic_write, user_path
from ..layers import GRU, RNN, Dense, Embedding, Layer, LayerNormLSTM, PeepholeLSTM, Recurrent
from ..models.classifier import SequenceClassifier
from ..models.language_model import LanguageModel
from .gates import kind_of, reordered

OPSET, IR = 22, 10
ORDERS = {"rnn": "h", "lstm": "iofg", "gru": "zrn"}
PEEPHOLES = "ifo", "iof"  # their order here, and there
OPERATORS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}
MARK = "rnnscratch"


def to_onnx(layer_or_model: Any, path: str | os.PathLike[str] | None = None) -> Any:
    """The ONNX graph (an `onnx.ModelProto`, checked by ONNX) of a layer or model, also written to `path` if given.

    A recurrent layer gives hs (T, B, directions*H) and the final states h, c (layers*directions, B, H) for x and
    lengths, from zeros; a `SequenceClassifier` logits (B,) or (B, K) for ids and lengths, a `LanguageModel` logits (T,
    B, V) and the states after for ids, lengths and the states before. Dropout plays no part.

    Raises ValueError for a cell that ONNX does not have (layer normalisation), TypeError for what is none of these,
    OSError when the file cannot be written, and ImportError without onnx (extra `interop`).
    """
    graph = Graph(_library())
    if isinstance(layer_or_model, Recurrent):
        graph.recurrent_layer(layer_or_model)
    elif isinstance(layer_or_model, Embedding | Dense):
        graph.flat_layer(layer_or_model)
    elif isinstance(layer_or_model, SequenceClassifier):
        graph.classifier(layer_or_model)
    elif isinstance(layer_or_model, LanguageModel):
        graph.language_model(layer_or_model)
    else:
        raise TypeError(
            f"{type(layer_or_model).__name__} cannot be an ONNX graph, expected a recurrent layer, Embedding, Dense, "
            "SequenceClassifier or LanguageModel"
        )
    about = {"kind": type(layer_or_model).__name__, "config": layer_or_model.config()}
    model = graph.finished(None if isinstance(layer_or_model, Recurrent) else about)  # nodes tell all of a layer
    if path is not None:
        with atomic_write(user_path(path), "wb") as file:
            file.write(model.SerializeToString())
    return model


class Graph:
    """Nodes and weights, put together one after the other."""

    def __init__(self, onnx: Any):
        self.onnx, self.helper = onnx, import_module("onnx.helper")
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def input(self, name: str, dtype: Any, *shape: Any) -> str:
        """A graph input; letters are sizes that may differ from run to run."""
        self.inputs.append(self.helper.make_tensor_value_info(name, self.type_of(dtype), shape))
        return name

    def output(self, name: str, dtype: Any, *shape: Any) -> None:
        """Which value of the graph is a result."""
        self.outputs.append(self.helper.make_tensor_value_info(name, self.type_of(dtype), shape))

    def type_of(self, dtype: Any) -> int:
        """ONNX's number of a dtype."""
        return self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def weight(self, name: str, value: Any) -> str:
        """A constant array."""
        array = np.ascontiguousarray(value)
        self.weights.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, operator: str, inputs: list[str], name: str, *more: str, **attributes: Any) -> str:
        """One operation whose first result has this name."""
        self.nodes.append(
            self.helper.make_node(operator, inputs, [name, *more], name=f"{operator} {name}", **attributes)
        )
        return name

    def recurrent_layer(self, layer: Recurrent) -> None:
        """x, lengths -> hs, final states."""
        dtype, H = layer.dtype, layer.hidden_size
        x = self.input("x", dtype, "T", "B", layer.input_size)
        hs, finals = self.recurrent(layer, x, self.input("lengths", np.int32, "B"), "")
        self.node("Identity", [hs], "hs")
        self.output("hs", dtype, "T", "B", H * len(layer.directions))
        self.states(layer, finals)

    def states(self, layer: Recurrent, finals: list[list[str]]) -> None:
        """The final states of all layers and directions as outputs h and c."""
        for letter, parts in zip(layer.states, zip(*finals)):
            self.node("Concat", list(parts), letter, axis=0)
            self.output(letter, layer.dtype, layer.num_layers * len(layer.directions), "B", layer.hidden_size)

    def flat_layer(self, layer: Layer) -> None:
        """ids -> their rows, or x -> x W + b."""
        if isinstance(layer, Embedding):
            self.embedding(layer, self.input("ids", np.int64, "T", "B"), "y")
            self.output("y", layer.dtype, "T", "B", layer.embedding_dim)
        else:
            assert isinstance(layer, Dense)
            self.dense(
                to_cpu(layer.params["W"]), to_cpu(layer.params["b"]), self.input("x", layer.dtype, None, None), "y"
            )
            self.output("y", layer.dtype, None, None)

    def embedding(self, layer: Embedding, ids: str, name: str) -> str:
        """The rows of the table."""
        return self.node("Gather", [self.weight("embedding.E", to_cpu(layer.params["E"])), ids], name, axis=0)

    def dense(self, W: np.ndarray, b: np.ndarray, x: str, name: str) -> str:
        """x W + b."""
        product = self.node("MatMul", [x, self.weight("dense.W", W)], f"{name} product")
        return self.node("Add", [product, self.weight("dense.b", b)], name)

    def recurrent(
        self, layer: Recurrent, x: str, lengths: str, start: str, before: dict[str, str] | None = None
    ) -> tuple[str, list[list[str]]]:
        """All layers of a stack: the outputs (T, B, directions*H), and the final states of each layer.

        `before` are names of initial states (layers*directions, B, H) by letter.
        """
        if isinstance(layer, LayerNormLSTM):
            raise ValueError("layer is a LayerNormLSTM, but ONNX's LSTM has no layer normalisation")
        kind, directions = kind_of(layer), layer.directions
        finals = []
        for k in range(layer.num_layers):
            name = f"{start}layer {k}"
            arrays = self.weights_of(layer, k, kind)
            inputs = [x, *(self.weight(f"{name} {part}", arrays[part]) for part in "WRB"), lengths]
            at, count = k * len(directions), len(directions)
            inputs += [
                self.rows(before[letter], at, count, f"{name} {letter} before") if before else ""
                for letter in layer.states
            ]
            if "P" in arrays:
                inputs += [self.weight(f"{name} P", arrays["P"])]
            attributes: dict[str, Any] = {"hidden_size": layer.hidden_size}
            attributes["direction"] = "bidirectional" if len(directions) > 1 else "forward"
            if isinstance(layer, RNN):
                attributes["activations"] = [ACTIVATIONS[layer.activation]] * len(directions)
            if isinstance(layer, GRU):
                attributes["linear_before_reset"] = int(layer.reset_after)
            after = [f"{name} {letter}" for letter in layer.states]
            while inputs[-1] == "":
                inputs.pop()
            y = self.node(OPERATORS[kind], inputs, f"{name} y", *after, **attributes)  # (T, directions, B, H)
            turned = self.node("Transpose", [y], f"{name} turned", perm=[0, 2, 1, 3])
            shape = self.weight(f"{name} shape", np.array([0, 0, len(directions) * layer.hidden_size], np.int64))
            x = self.node("Reshape", [turned, shape], f"{name} hs")
            finals.append(after)
        return x, finals

    def weights_of(self, layer: Recurrent, k: int, kind: str) -> dict[str, np.ndarray]:
        """W (directions, GH, D), R (directions, GH, H), B (directions, 2GH), with peepholes also P (directions, 3H)."""
        found: dict[str, list[np.ndarray]] = {}
        order = ORDERS[kind]
        for direction in layer.directions:
            suffix = f"_l{k}{direction}"
            own = {name: to_cpu(layer.params[name + suffix]) for name in "WUb"}
            W, U, b = (reordered(own[name], layer.gates, order) for name in "WUb")
            after = np.zeros_like(b)
            if isinstance(layer, GRU) and layer.reset_after:
                after[2 * layer.hidden_size :] = to_cpu(layer.params["bn" + suffix])
            parts = {"W": W.T, "R": U.T, "B": np.concatenate([b, after])}
            if isinstance(layer, PeepholeLSTM):
                parts["P"] = reordered(to_cpu(layer.params["P" + suffix]), *PEEPHOLES)
            for name, array in parts.items():
                found.setdefault(name, []).append(array)
        return {name: np.stack(arrays) for name, arrays in found.items()}

    def rows(self, name: str, first: int, count: int, result: str) -> str:
        """Some rows of an array along its first axis."""
        limits = [self.weight(f"{result} {k}", np.array([at], np.int64)) for k, at in enumerate((first, first + count))]
        return self.node("Slice", [name, *limits, self.weight(f"{result} axis", np.array([0], np.int64))], result)

    def classifier(self, model: SequenceClassifier) -> None:
        """ids, lengths -> logits."""
        layer, dtype = model.recurrent, model.dtype
        ids, lengths = self.input("ids", np.int64, "T", "B"), self.input("lengths", np.int32, "B")
        x = self.embedding(model.embedding, ids, "embedded")
        hs, finals = self.recurrent(layer, x, lengths, "")
        parts = [self.pooled(part, layer, ids, lengths, hs, finals[-1][0]) for part in model.pooling.split("+")]
        features = parts[0] if len(parts) == 1 else self.node("Concat", parts, "features", axis=1)
        W, b = (to_cpu(model.dense.params[name]) for name in "Wb")
        binary = model.num_classes == 2
        logits = self.dense(W, b, features, "scores" if binary else "logits")
        if binary:
            self.node("Squeeze", [logits, self.weight("last axis", np.array([1], np.int64))], "logits")
        self.output("logits", dtype, "B", *([] if binary else [model.num_classes]))

    def pooled(self, part: str, layer: Recurrent, ids: str, lengths: str, hs: str, final: str) -> str:
        """One part of the pooling (B, directions*H)."""
        if part == "last":  # (directions, B, H) of the top layer
            turned = self.node("Transpose", [final], "last turned", perm=[1, 0, 2])
            width = len(layer.directions) * layer.hidden_size
            return self.node("Reshape", [turned, self.weight("last shape", np.array([0, width], np.int64))], "last")
        if part == "mean":  # hs are 0 past the ends
            total = self.node("ReduceSum", [hs, self.weight("time", np.array([0], np.int64))], "total", keepdims=0)
            count = self.node("Cast", [lengths], "count", to=self.type_of(layer.dtype))
            column = self.node("Unsqueeze", [count, self.weight("mean axis", np.array([1], np.int64))], "count column")
            return self.node("Div", [total, column], "mean")
        size = self.node("Shape", [ids], "steps", start=0, end=1)
        scalar = self.node("Squeeze", [size, self.weight("first", np.array([0], np.int64))], "T")
        numbers = [self.weight("zero", np.array(0, np.int64)), scalar, self.weight("one", np.array(1, np.int64))]
        step = self.node("Range", numbers, "step")
        column = self.node("Unsqueeze", [step, self.weight("step axis", np.array([1], np.int64))], "step column")
        wide = self.node("Cast", [lengths], "wide lengths", to=self.type_of(np.int64))
        real = self.node("Less", [column, wide], "real")
        mask = self.node("Unsqueeze", [real, self.weight("mask axis", np.array([2], np.int64))], "mask")
        least = self.weight("least", np.array(np.finfo(layer.dtype).min, layer.dtype))
        chosen = self.node("Where", [mask, hs, least], "chosen")
        axis = self.weight("max axis", np.array([0], np.int64))
        return self.node("ReduceMax", [chosen, axis], "max", keepdims=0)

    def language_model(self, model: LanguageModel) -> None:
        """ids, lengths and the states before -> logits and the states after."""
        layer, dtype = model.recurrent, model.dtype
        ids, lengths = self.input("ids", np.int64, "T", "B"), self.input("lengths", np.int32, "B")
        before = {
            letter: self.input(f"{letter} before", dtype, layer.num_layers, "B", layer.hidden_size)
            for letter in layer.states
        }
        x = self.embedding(model.embedding, ids, "embedded")
        hs, finals = self.recurrent(layer, x, lengths, "", before)
        W, b = (to_cpu(array) for array in model._output())
        self.dense(W.T, b, hs, "logits")
        self.output("logits", dtype, "T", "B", model.vocabulary_size)
        self.states(layer, finals)

    def finished(self, about: dict[str, Any] | None) -> Any:
        """The whole graph, checked."""
        graph = self.helper.make_graph(self.nodes, "rnnscratch", self.inputs, self.outputs, self.weights)
        model = self.helper.make_model(
            graph,
            opset_imports=[self.helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="rnnscratch",
            producer_version=__version__,
        )
        if about is not None:
            self.helper.set_model_props(model, {MARK: json.dumps(about)})
        self.onnx.checker.check_model(model, full_check=True)
        return model


def _library() -> Any:
    """onnx. Raises ImportError that says what to install."""
    try:
        import_module("onnx.numpy_helper")
        import_module("onnx.checker")
        return import_module("onnx")
    except ImportError as error:
        raise ImportError(f"onnx is needed: pip install 'rnnscratch[interop]' ({error})") from error
