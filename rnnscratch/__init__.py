"""Recurrent networks from scratch: hand-written forward and backward passes on NumPy and CuPy.

>>> import rnnscratch as rs
>>> lstm = rs.LSTM(input_size=3, hidden_size=4, seed=0)
>>> lstm.num_params                                   # 4(n + m + 1)m
128
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers and editors know; at run time `__getattr__` loads the same names
    from . import hmm as hmm, kernels as kernels, metrics as metrics, optimizers as optimizers  # noqa: I001
    from . import interchange as interchange, plots as plots, teach as teach, text as text, training as training
    from .backend import get_array_module as get_array_module, gpu_available as gpu_available
    from .backend import to_cpu as to_cpu, to_gpu as to_gpu
    from .gradcheck import check_gradients as check_gradients
    from .kernels import losses as losses
    from .layers import GRU as GRU, LSTM as LSTM, RNN as RNN, Dense as Dense, Dropout as Dropout
    from .layers import Embedding as Embedding, LayerNormLSTM as LayerNormLSTM, PeepholeLSTM as PeepholeLSTM
    from .layers import Sequential as Sequential
    from .models.classifier import SequenceClassifier as SequenceClassifier
    from .models.language_model import LanguageModel as LanguageModel
    from .models.seq2seq import Seq2Seq as Seq2Seq
    from .optimizers import SGD as SGD, Adagrad as Adagrad, Adam as Adam, AdamW as AdamW, Momentum as Momentum
    from .optimizers import RMSProp as RMSProp, clip_gradients as clip_gradients
    from .text_classifier import TextClassifier as TextClassifier
    from .word2vec import Word2Vec as Word2Vec

__version__ = "0.1.0"

_NAMES_OF = {
    "layers": "RNN LSTM GRU PeepholeLSTM LayerNormLSTM Embedding Dense Dropout Sequential",
    "models.classifier": "SequenceClassifier",
    "models.language_model": "LanguageModel",
    "models.seq2seq": "Seq2Seq",
    "text_classifier": "TextClassifier",
    "word2vec": "Word2Vec",
    "optimizers": "SGD Momentum Adagrad RMSProp Adam AdamW clip_gradients",
    "gradcheck": "check_gradients",
    "backend": "get_array_module to_cpu to_gpu gpu_available",
}
_HOME = {name: module for module, names in _NAMES_OF.items() for name in names.split()}
_MODULES = ("hmm", "interchange", "kernels", "losses", "metrics", "optimizers", "plots", "teach", "text", "training")

__all__ = ["__version__", *_HOME, *_MODULES]  # noqa: PLE0604 - strings, though the linter cannot see it


if not TYPE_CHECKING:  # so that a type checker names what there is not

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
