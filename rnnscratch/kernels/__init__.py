"""Pure functions on arrays: forward passes and hand-written backward passes.

No stored state, no I/O; imports nothing but `backend` and `checks`.
"""

from . import (
    activations,
    adversarial,
    dense,
    dropout,
    embedding,
    gru,
    layer_norm,
    losses,
    lstm,
    packing,
    peephole,
    pooling,
    rnn,
    sampled_softmax,
    sequence,
    word2vec,
)

__all__ = [
    "activations",
    "adversarial",
    "dense",
    "dropout",
    "embedding",
    "gru",
    "layer_norm",
    "losses",
    "lstm",
    "packing",
    "peephole",
    "pooling",
    "rnn",
    "sampled_softmax",
    "sequence",
    "word2vec",
]
