"""The cells on a GPU: each cell's step and its reverse in CUDA C++ beside its equations, and four ways to run them.

    arrays     the cell's own array code: every operation is a launch. Any cell, also in complex128
    steps      two launches a step each way: cuBLAS's product with U, and a kernel for all else, which is elementwise
               (step.cu) or, with layer normalisation, a row at a time (layer_norm.cu)
    sequence   all steps of a layer and direction in one launch (sequence.cu), where U fits into a multiprocessor
    grid       the same (grid.cu), where it fits into all of them together, which wait for one another at each step

`lstm.cuh`, `gru.cuh` and their like hold the equations, under the names and numbers of `../lstm.py`, `../gru.py`. They
are compiled when they are first needed, by CUDA's own compiler in the process (NVRTC), for the scalar, the cell and H.
"""

from .choice import PATHS, Explanation, Way, launches_a_step, on_gpu, path_of, precision, use
from .passes import Backward, Forward, step

__all__ = [
    "PATHS",
    "Backward",
    "Explanation",
    "Forward",
    "Way",
    "launches_a_step",
    "on_gpu",
    "path_of",
    "precision",
    "step",
    "use",
]
