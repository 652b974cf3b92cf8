"""Pure functions on arrays:

forward passes and hand-written backward passes. No state, no I/O; imports nothing but `backend`.
"""

from . import activations, dense, dropout, embedding, gru, losses, lstm, pooling, rnn, sequence

__all__ = ["activations", "dense", "dropout", "embedding", "gru", "losses", "lstm", "pooling", "rnn", "sequence"]
