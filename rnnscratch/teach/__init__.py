"""Tools for teaching back-propagation through time: every intermediate of a pass and whether a learner's own agree,
points for a learner's function, where gradients go, proofs, and a quiz.
"""

from typing import TYPE_CHECKING, Any

from . import flow, quiz, steps, words
from .answers import answer
from .compare import Comparison
from .grade import Grade, grade, tasks
from .trace import Trace, trace

if TYPE_CHECKING:
    from . import symbolic as symbolic

__all__ = [
    "Comparison",
    "Grade",
    "Trace",
    "answer",
    "flow",
    "grade",
    "quiz",
    "steps",
    "symbolic",
    "tasks",
    "trace",
    "words",
]


def __getattr__(name: str) -> Any:
    if name != "symbolic":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # it needs SymPy, of the extra `notebooks`

    return import_module(f"{__name__}.symbolic")
