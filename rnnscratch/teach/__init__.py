"""Tools for teaching back-propagation through time: every intermediate of a pass, and where gradients go."""

from . import flow
from .trace import Trace, trace

__all__ = ["Trace", "flow", "trace"]
