"""PyTorch's modules and state dicts, from and to layers and models.

torch.nn                 here
RNN, tanh or relu        RNN            weight_ih = W^T, weight_hh = U^T, bias_ih + bias_hh = b
LSTM                     LSTM           gates i, f, g, o there, i, f, o, g here
GRU                      GRU(reset_after=True)     bias_hh of the candidate is bn
Embedding                Embedding      weight = E
Linear                   Dense          weight = W^T, bias = b

PyTorch's recurrent modules take (T, B, D) as ours do, unless they are made with batch_first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import to_cpu
from ..checks import check_choice
from ..layers import GRU, Dense, Embedding, Layer, Recurrent
from .gates import KINDS, as_numbers, check_plain, common_dtype, filled, kind_of, reordered

ORDERS = {"rnn": "h", "lstm": "ifgo", "gru": "rzn"}
CHOICES = (*KINDS, "embedding", "dense")
NAME = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh)_l(\d+)(_reverse)?")


def from_torch(
    source: Any,
    like: Any = None,
    kind: str | None = None,
    nonlinearity: str = "tanh",
    prefix: str = "",
    device: str = "cpu",
) -> Any:
    """A layer with the weights of a PyTorch module or state dict, or a model like `like` with those of its state dict.

    source: a torch.nn.RNN, LSTM, GRU, Embedding or Linear, or a dict of tensors or arrays by PyTorch's names, of which
    only those that begin with `prefix` are taken, without it. In a dict the `kind`, "rnn", "lstm", "gru", "embedding"
    or "dense", follows from the shapes where it is not given (a lone weight (V, E) is an embedding's); a vanilla
    network's `nonlinearity` is "tanh" or "relu". Missing biases are zeros. like: a `SequenceClassifier`,
    `LanguageModel` or `Seq2Seq`, whose state dict `to_torch` writes; the result is another of the same options.

    Raises ValueError or TypeError for modules and weights that have no equal here, naming what it is: LSTM with a
    projection, bias-free halves, embeddings with max_norm, and names or shapes that do not fit together. The rows of an
    embedding's padding_idx are rows like others here.
    """
    if isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"source is the path {str(source)!r}, expected a module or its state dict: torch.load reads one from a "
            "file of PyTorch, and safetensors are read by rs.interchange.load_safetensors"
        )
    if like is not None:
        return _model_like(like, source, prefix)
    options: dict[str, Any] = {"nonlinearity": nonlinearity}
    if not isinstance(source, Mapping):
        kind, options = _of_module(source)
        source = source.state_dict()
    arrays = _numbers(source, prefix)
    check_choice("nonlinearity", options["nonlinearity"], ("tanh", "relu"))
    kind = _guess(arrays) if kind is None else kind
    check_choice("kind", kind, CHOICES)
    shared: dict[str, Any] = {"dtype": common_dtype(arrays), "device": device, "seed": 0}
    if kind in KINDS:
        layer: Layer = _recurrent(kind, arrays, options, shared)
    else:
        weight = _matrix(arrays, "weight", "embedding (V, E) or linear (K, D)")
        sizes = weight.shape if kind == "embedding" else weight.shape[::-1]
        layer = (Embedding if kind == "embedding" else Dense)(*sizes, **shared)
    return filled(layer, from_named(layer, arrays))


def to_torch(layer_or_model: Any) -> dict[str, np.ndarray]:
    """The weights by PyTorch's names, as arrays: `module.load_state_dict({k: torch.from_numpy(v) ...})` takes them.

    Of a model each name begins with its part's, as "recurrent.weight_ih_l0"; where PyTorch has no such layer, as the
    attention, it keeps our name. Raises ValueError for a cell that PyTorch does not have, TypeError for what is neither
    a layer nor a model.
    """
    if isinstance(layer_or_model, Layer):
        return to_named(layer_or_model)
    return {
        f"{part}.{name}": array for part, layer in parts_of(layer_or_model) for name, array in to_named(layer).items()
    }


def parts_of(model: Any) -> tuple[tuple[str, Layer], ...]:
    """The layers with parameters of a model, by name. Raises TypeError for anything else."""
    if not hasattr(model, "_layers"):
        raise TypeError(f"{type(model).__name__} is neither a layer nor a model of this library")
    return model._layers()


def to_named(layer: Layer) -> dict[str, np.ndarray]:
    """A layer's weights by PyTorch's names."""
    params = {name: to_cpu(array) for name, array in layer.params.items()}
    if isinstance(layer, Embedding):
        return {"weight": params["E"]}
    if isinstance(layer, Dense):
        return {"weight": np.ascontiguousarray(params["W"].T), "bias": params["b"]}
    if not isinstance(layer, Recurrent):
        return params
    check_plain(layer, "PyTorch's", ("tanh", "relu"))
    if isinstance(layer, GRU) and not layer.reset_after:
        raise ValueError("reset_after is False, but PyTorch's GRU resets after the product with U")
    found = {}
    order = ORDERS[kind_of(layer)]
    for suffix in _suffixes(layer):
        for ours, theirs in (("W", "weight_ih"), ("U", "weight_hh"), ("b", "bias_ih")):
            found[theirs + suffix] = np.ascontiguousarray(reordered(params[ours + suffix], layer.gates, order).T)
        found["bias_hh" + suffix] = np.zeros_like(found["bias_ih" + suffix])
        if isinstance(layer, GRU):
            found["bias_hh" + suffix][2 * layer.hidden_size :] = params["bn" + suffix]
    return found


def from_named(layer: Layer, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A layer's parameters from weights by PyTorch's names. Raises ValueError where they do not fit the layer."""
    if isinstance(layer, Embedding):
        return _renamed(arrays, {"weight": "E"})
    if isinstance(layer, Dense):
        found = _renamed(arrays, {"weight": "W", "bias": "b"})
        bias = found.get("b", np.zeros(layer.output_size, layer.dtype))
        return {"W": found["W"].T, "b": bias} if "W" in found else found
    if not isinstance(layer, Recurrent):
        return dict(arrays)
    order, H = ORDERS[kind_of(layer)], layer.hidden_size
    G = len(order)
    wanted = {f"{name}{suffix}" for suffix in _suffixes(layer) for name in ("weight_ih", "weight_hh")}
    known = wanted | {name.replace("weight", "bias") for name in wanted}
    if not wanted <= arrays.keys() <= known:
        wrong = sorted((wanted - arrays.keys()) | (arrays.keys() - known))
        hint = " (a projection, proj_size, has no equal here)" if any("weight_hr" in name for name in wrong) else ""
        raise ValueError(f"missing or unknown weights: {', '.join(wrong):.200}{hint}")
    found = {}
    for k, suffix in enumerate(_suffixes(layer)):
        inputs = layer.input_size if k < len(layer.directions) else H * len(layer.directions)
        shapes = {"weight_ih": (G * H, inputs), "weight_hh": (G * H, H), "bias_ih": (G * H,), "bias_hh": (G * H,)}
        own = {}
        for name, shape in shapes.items():
            own[name] = arrays.get(name + suffix, np.zeros(shape, layer.dtype))
            if own[name].shape != shape:
                raise ValueError(f"{name}{suffix} has shape {own[name].shape}, expected {shape}")
        b, b_hh = own["bias_ih"], own["bias_hh"]
        if isinstance(layer, GRU):
            found["bn" + suffix] = b_hh[2 * H :]
            b = b + np.concatenate([b_hh[: 2 * H], np.zeros(H, b.dtype)])
        else:
            b = b + b_hh
        for name, array in (("W", own["weight_ih"].T), ("U", own["weight_hh"].T), ("b", b)):
            found[name + suffix] = reordered(array, order, layer.gates)
    return found


def _model_like(like: Any, source: Any, prefix: str) -> Any:
    """A model of the same options as `like` with the weights of a state dict."""
    parts = parts_of(like)
    arrays = _numbers(source if isinstance(source, Mapping) else source.state_dict(), prefix)
    values: dict[str, np.ndarray] = {}
    for part, layer in parts:
        own = {name[len(part) + 1 :]: array for name, array in arrays.items() if name.startswith(part + ".")}
        values |= {f"{part}.{name}": array for name, array in from_named(layer, own).items()}
        arrays = {name: array for name, array in arrays.items() if not name.startswith(part + ".")}
    if arrays:
        raise ValueError(f"unknown weights: {', '.join(sorted(arrays)):.200}; the parts are {', '.join(dict(parts))}")
    model = type(like)(**like.config(), seed=0)
    dtype = model.dtype
    model.load_params({name: np.asarray(array, dtype) for name, array in _lossless(values, dtype).items()})
    return model


def _lossless(values: Mapping[str, np.ndarray], dtype: np.dtype) -> Mapping[str, np.ndarray]:
    """The values, if the dtype holds them. Raises TypeError otherwise."""
    for name, array in values.items():
        if not np.can_cast(array.dtype, dtype):
            raise TypeError(f"{name} has dtype {array.dtype}, expected {dtype} as the model")
    return values


def _numbers(source: Any, prefix: str) -> dict[str, np.ndarray]:
    found = {
        name[len(prefix) :]: as_numbers(name, value) for name, value in source.items() if str(name).startswith(prefix)
    }
    if not found:
        names = ", ".join(map(str, source)) or "none"
        raise ValueError(f"there are no weights that begin with {prefix!r}; the names are {names:.200}")
    return found


def _of_module(module: Any) -> tuple[str, dict[str, Any]]:
    """The kind of a module and what its constructor said. Raises TypeError or ValueError for one without an equal."""
    name = type(module).__name__
    options: dict[str, Any] = {"nonlinearity": "tanh"}
    if name in ("RNN", "LSTM", "GRU"):
        if getattr(module, "proj_size", 0):
            raise ValueError(
                f"proj_size is {module.proj_size}, expected 0: an LSTM with a projection has no equal here"
            )
        options |= {"nonlinearity": getattr(module, "nonlinearity", "tanh"), "dropout": float(module.dropout)}
        return name.lower(), options
    if name == "Embedding":
        if module.max_norm is not None or module.scale_grad_by_freq:
            raise ValueError("the embedding has max_norm or scale_grad_by_freq, which have no equal here")
        return "embedding", options
    if name == "Linear":
        return "dense", options
    raise TypeError(
        f"source is {name}, expected torch.nn.RNN, LSTM, GRU, Embedding or Linear, a state dict, or `like` for a model"
    )


def _guess(arrays: Mapping[str, np.ndarray]) -> str:
    """What kind of layer has weights of these names and shapes."""
    if arrays.keys() == {"weight"}:
        return "embedding"
    if arrays.keys() == {"weight", "bias"}:
        return "dense"
    weight = arrays.get("weight_hh_l0")
    if weight is None or weight.ndim != 2:
        raise ValueError(
            f"the names are {', '.join(sorted(arrays)):.200}, expected those of torch.nn.RNN, LSTM, GRU, Embedding or "
            "Linear; prefix says with what they begin"
        )
    for kind, order in ORDERS.items():
        if weight.shape[0] == len(order) * weight.shape[1]:
            return kind
    raise ValueError(f"weight_hh_l0 has shape {weight.shape}, expected (H, H), (3H, H) or (4H, H)")


def _recurrent(kind: str, arrays: Mapping[str, np.ndarray], options: Mapping[str, Any], shared: Any) -> Recurrent:
    """A layer of the sizes that the weights have."""
    weight_ih = _matrix(arrays, "weight_ih_l0", "(G*H, D)")
    weight_hh = _matrix(arrays, "weight_hh_l0", "(G*H, H)")
    found = [NAME.fullmatch(name) for name in arrays]
    how: dict[str, Any] = {"rnn": {"activation": options["nonlinearity"]}, "gru": {"reset_after": True}}.get(kind, {})
    layers = max((int(match[2]) + 1 for match in found if match), default=1)
    if layers > len(arrays):
        raise ValueError(f"the weights' names speak of {layers} layers, but there are only {len(arrays)} arrays")
    how |= {"num_layers": layers, "bidirectional": any(match and match[3] for match in found)}
    if layers > 1:
        how["dropout"] = options.get("dropout", 0.0)
    return KINDS[kind](weight_ih.shape[1], weight_hh.shape[1], **how, **shared)


def _matrix(arrays: Mapping[str, np.ndarray], name: str, what: str) -> np.ndarray:
    if name not in arrays or arrays[name].ndim != 2:
        shape = arrays[name].shape if name in arrays else "missing"
        raise ValueError(f"{name} is {shape}, expected a matrix {what}")
    return arrays[name]


def _renamed(arrays: Mapping[str, np.ndarray], names: Mapping[str, str]) -> dict[str, np.ndarray]:
    unknown = sorted(arrays.keys() - names.keys())
    if unknown:
        raise ValueError(f"unknown weights: {', '.join(unknown):.200}, expected {', '.join(names)}")
    return {names[name]: array for name, array in arrays.items()}


def _suffixes(layer: Recurrent) -> list[str]:
    return [f"_l{k}{direction}" for k in range(layer.num_layers) for direction in layer.directions]
