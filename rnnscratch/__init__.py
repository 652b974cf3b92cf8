"""Recurrent networks from scratch: hand-written forward and backward passes on NumPy and CuPy.

>>> import rnnscratch as rs
>>> lstm = rs.LSTM(input_size=3, hidden_size=4, seed=0)
>>> lstm.num_params                                   # 4(n + m + 1)m
128
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "RNN": "layers",
    "LSTM": "layers",
    "GRU": "layers",
    "PeepholeLSTM": "layers",
    "LayerNormLSTM": "layers",
    "Embedding": "layers",
    "Dense": "layers",
    "Dropout": "layers",
    "Sequential": "layers",
    "SequenceClassifier": "models.classifier",
    "TextClassifier": "text_classifier",
    "SGD": "optimizers",
    "Momentum": "optimizers",
    "Adagrad": "optimizers",
    "RMSProp": "optimizers",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "clip_gradients": "optimizers",
    "check_gradients": "gradcheck",
    "get_array_module": "backend",
    "to_cpu": "backend",
    "to_gpu": "backend",
    "gpu_available": "backend",
}
_MODULES = ("hmm", "kernels", "losses", "metrics", "optimizers", "plots", "teach", "text", "training")

__all__ = ["__version__", *_HOME, *_MODULES]  # noqa: PLE0604 - strings, though the linter cannot see it


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used, so that `import rnnscratch` costs no more than NumPy."""
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.kernels.losses" if name == "losses" else f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
