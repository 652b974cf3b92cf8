"""Weights from and to other libraries: PyTorch, Keras 3, safetensors, ONNX, and the parameters of hidden Markov models.

What cannot be converted without loss is refused with the reason. PyTorch and Keras need not be installed: dictionaries
and lists of arrays do. Safetensors and ONNX files need the extra `interop`.
"""

from .convert import convert
from .hmms import from_depmix, from_hmmlearn
from .keras import from_keras, to_keras
from .onnx_export import to_onnx
from .onnx_import import from_onnx
from .pytorch import from_torch, to_torch
from .tensors import load_safetensors, save_safetensors

__all__ = [
    "convert",
    "from_depmix",
    "from_hmmlearn",
    "from_keras",
    "from_onnx",
    "from_torch",
    "load_safetensors",
    "save_safetensors",
    "to_keras",
    "to_onnx",
    "to_torch",
]
