"""Pure functions on arrays: forward passes and hand-written backward passes.

No stored state, no I/O; imports nothing but `backend` and `checks`. Each `forward`, `backward` and loss raises
TypeError or ValueError, naming the argument, for arrays that do not fit together. What does a part of their work (a
step, a piece of a plan, a draw) takes what it is given, and what does not fit there is NumPy's own error.
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
