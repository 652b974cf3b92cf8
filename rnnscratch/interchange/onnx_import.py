"""The recurrent nodes of ONNX graphs as layers, and whole models from graphs that `to_onnx` made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checks import as_array, check_choice
from ..files import parse_json, read_bytes, reading, user_path
from ..layers import GRU, LSTM, RNN, PeepholeLSTM, Recurrent
from ..models.saved import HOMES
from .gates import common_dtype, filled, reordered
from .onnx_export import ACTIVATIONS, MARK, ORDERS, PEEPHOLES, _library
from .tensors import LIMIT, rebuilt

NAMES = {"RNN": "rnn", "LSTM": "lstm", "GRU": "gru"}
STANDARD = {"RNN": ["tanh"], "LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"]}
PASSING = ("Transpose", "Reshape", "Squeeze", "Identity", "Dropout")  # between layers of a stack
INITIALLY = ("W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")


def from_onnx(model: Any, weights: Mapping[str, Any] | None = None, device: str = "cpu") -> Any:
    """The recurrent layer of an ONNX graph, several as a list in the graph's order, or the model that `to_onnx` wrote.

    model: a path, or an `onnx.ModelProto`. Nodes RNN (tanh, relu or sigmoid), LSTM (with peepholes too) and GRU (with
    `linear_before_reset` or without), forward or bidirectional; nodes in a row, with nothing but a change of axes
    between them, are one layer. `weights` are arrays by name for those that the graph takes as inputs. Our layers take
    (T, B, D) whatever the node's layout, and their initial states are arguments of `forward`.

    Raises ValueError or TypeError for what has no equal here, naming it: a clip, input_forget, other activations, a
    node that reads in reverse alone; FileNotFoundError, or ValueError, naming the file, for one that cannot be read;
    and ImportError without onnx (extra `interop`).
    """
    onnx = _library()
    if isinstance(model, str | os.PathLike):
        path = user_path(model)
        content = read_bytes(path, LIMIT)
        with reading(path):
            try:
                graph = onnx.load_model_from_string(content)
            except Exception as error:  # of protobuf, whose own names change from version to version
                raise ValueError(f"it is no ONNX model: {error!s:.200}") from None
            return _read(onnx, graph, weights, device)
    return _read(onnx, model, weights, device)


def _read(onnx: Any, model: Any, weights: Mapping[str, Any] | None, device: str) -> Any:
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(f"model is {type(model).__name__}, expected a path or an onnx.ModelProto")
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    producers: dict[str, Any] = {}
    for node in model.graph.node:
        producers |= dict.fromkeys(node.output, node)
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            arrays[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    arrays |= {name: as_array(f"weights[{name!r}]", value) for name, value in (weights or {}).items()}
    nodes = [node for node in model.graph.node if node.op_type in NAMES and node.domain in ("", "ai.onnx")]
    about = {each.key: each.value for each in model.metadata_props}.get(MARK)
    found = parse_json(about.encode()) if about is not None else {}
    if not nodes and not (isinstance(found, dict) and found.get("kind") in ("Embedding", "Dense")):
        operators = ", ".join(sorted({node.op_type for node in model.graph.node})) or "none"
        raise ValueError(f"the graph has no RNN, LSTM or GRU node, but {operators:.200}")
    parts = [_values(onnx, node, arrays) for node in nodes]
    if isinstance(found, dict) and found.get("kind") in (*HOMES, "Embedding", "Dense"):
        return _whole(found, parts, arrays, device)
    layers: list[list[dict[str, Any]]] = []
    for node, part in zip(nodes, parts):
        if layers and _follows(
            node, nodes[len([p for group in layers for p in group]) - 1], producers, part, layers[-1][-1]
        ):
            layers[-1].append(part)
        else:
            layers.append([part])
    made = [_layer(group, device) for group in layers]
    return made[0] if len(made) == 1 else made


def _follows(node: Any, before: Any, producers: Mapping[str, Any], part: Any, earlier: Any) -> bool:
    """Whether a node reads what the one before gave, and both can be layers of one stack."""
    name = node.input[0]
    while name in producers and producers[name].op_type in PASSING:
        name = producers[name].input[0]
    alike = all(part[key] == earlier[key] for key in ("kind", "options", "directions", "H"))
    return alike and name == before.output[0] and part["D"] == part["H"] * part["directions"]


def _values(onnx: Any, node: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A node's kind, options, sizes and weights, by our names without a layer's number."""
    kind = NAMES[node.op_type]
    given = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    direction = _text(given.get("direction", "forward"))
    if direction not in ("forward", "bidirectional"):
        raise ValueError(
            f"direction is {direction!r} in {node.op_type}: a layer that reads in reverse alone has no equal"
        )
    directions = 1 if direction == "forward" else 2
    for name in ("clip", "input_forget", "activation_alpha", "activation_beta"):
        if given.get(name):
            raise ValueError(f"{name} is {given[name]} in {node.op_type}, which has no equal here")
    inputs = dict(zip(INITIALLY, node.input[1:]))
    parts: dict[str, Any] = {name: arrays.get(inputs.get(name, "")) for name in ("W", "R", "B", "P")}
    for name in ("W", "R"):
        if parts[name] is None or parts[name].ndim != 3:
            raise ValueError(
                f"the weight {inputs.get(name, name)!r} of {node.op_type}, with three axes, is not in the graph: "
                "give it in `weights`"
            )
    for name in ("B", "P"):
        if inputs.get(name) and parts[name] is None:
            raise ValueError(f"the weight {inputs[name]!r} of {node.op_type} is not in the graph: give it in `weights`")
    W, R, order = parts["W"], parts["R"], ORDERS[kind]
    G, H, D = len(order), R.shape[2], W.shape[2]
    shapes = {"W": (directions, G * H, D), "R": (directions, G * H, H), "B": (directions, 2 * G * H)}
    shapes |= {"P": (directions, 3 * H)}
    for name, array in parts.items():
        if array is not None and array.shape != shapes[name]:
            raise ValueError(f"{name} of {node.op_type} has shape {array.shape}, expected {shapes[name]}")
    if given.get("hidden_size", H) != H:
        raise ValueError(f"hidden_size is {given['hidden_size']} in {node.op_type}, but its weights have {H}")
    options = _options(node.op_type, given, directions)
    values: dict[str, np.ndarray] = {}
    peepholes = parts["P"] is not None
    for k in range(directions):
        end = ("", "_reverse")[k]
        biases = np.zeros((2, G * H), W.dtype) if parts["B"] is None else parts["B"][k].reshape(2, G * H)
        b = biases.sum(axis=0)
        if options.get("reset_after"):
            b[2 * H :] = biases[0, 2 * H :]
            values["bn" + end] = biases[1, 2 * H :]
        gates = {"rnn": "h", "lstm": "ifog", "gru": "rzn"}[kind]
        for name, array in (("W", W[k].T), ("U", R[k].T), ("b", b)):
            values[name + end] = reordered(array, order, gates)
        if peepholes:
            values["P" + end] = reordered(parts["P"][k], *reversed(PEEPHOLES))
    kinds = {"rnn": RNN, "lstm": PeepholeLSTM if peepholes else LSTM, "gru": GRU}
    return {"kind": kinds[kind], "options": options, "directions": directions, "H": H, "D": D, "values": values}


def _options(operator: str, given: Mapping[str, Any], directions: int) -> dict[str, Any]:
    """What the cell is made with. Raises ValueError for activations that it does not have."""
    activations = [_text(each).lower() for each in given.get("activations", STANDARD[operator] * directions)]
    if operator == "RNN" and len(activations) == directions and len(set(activations)) == 1:
        check_choice("activations", activations[0], ACTIVATIONS)
        return {"activation": activations[0]}
    if activations != STANDARD[operator] * directions:
        raise ValueError(f"activations are {', '.join(activations)} in {operator}, expected {STANDARD[operator]}")
    return {"reset_after": bool(given.get("linear_before_reset", 0))} if operator == "GRU" else {}


def _layer(group: list[dict[str, Any]], device: str) -> Recurrent:
    """One layer of the nodes of a stack."""
    first = group[0]
    values = {
        f"{name.removesuffix('_reverse')}_l{k}{'_reverse' * name.endswith('_reverse')}": array
        for k, part in enumerate(group)
        for name, array in part["values"].items()
    }
    how = {**first["options"], "num_layers": len(group), "bidirectional": first["directions"] == 2}
    layer = first["kind"](first["D"], first["H"], **how, dtype=common_dtype(values), device=device, seed=0)
    return filled(layer, values)


def _whole(found: dict[str, Any], parts: list[dict[str, Any]], arrays: Mapping[str, np.ndarray], device: str) -> Any:
    """A model, or a layer without steps, that `to_onnx` wrote, from its configuration, nodes and weights."""
    if not isinstance(found.get("config"), dict):
        raise ValueError(f"the metadata holds {found!r:.100}, expected a kind and a config")
    kind, config = found["kind"], {**found["config"], "device": device}
    if kind not in HOMES:
        own = {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(kind.lower() + ".")}
        return rebuilt(kind, config, own)
    values: dict[str, np.ndarray] = {"embedding.E": arrays["embedding.E"]}
    for k, part in enumerate(parts):
        for name, array in part["values"].items():
            end = "_reverse" * name.endswith("_reverse")
            values[f"recurrent.{name.removesuffix('_reverse')}_l{k}{end}"] = array
    output = {"dense.W": arrays["dense.W"], "dense.b": arrays["dense.b"]}
    if config.get("tied"):
        del output["dense.W"]
    return rebuilt(kind, config, values | output)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
