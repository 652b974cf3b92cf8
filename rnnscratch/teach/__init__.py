"""Tools for teaching back-propagation through time: every intermediate of a pass, where gradients go, and a quiz."""

from . import flow, quiz, steps, words
from .answers import answer
from .trace import Trace, trace

__all__ = ["Trace", "answer", "flow", "quiz", "steps", "trace", "words"]
