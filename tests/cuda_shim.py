"""The package's CUDA kernels on NumPy arrays: compiled with g++ through cuda_on_cpu.h, in place of CuPy's compiler."""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnscratch.kernels.cuda import choice, source

HERE = Path(__file__).parent
FLAGS = ["-std=c++17", "-O1", "-w", "-ffp-contract=off", "-fPIC", "-shared", f"-I{HERE}"]
KERNEL = r'extern "C" __global__ void\s+(?:__launch_bounds__\([\w, ]+\)\s*)?(\w+)\('
SHARED = r"extern __shared__ (\w+) (\w+)\[\];"


def build(source: Path, library: Path, *more: Any) -> None:
    """A shared library of a C++ file."""
    subprocess.run(["g++", *FLAGS, source, *more, "-o", library], check=True)


class Shim:
    """Compiles kernels and launches them with threads in the order of `seed`; 0 is their own order.

    `change`, if given, edits the source before it is compiled.
    """

    def __init__(self, folder: Path):
        self.folder, self.seed, self.launches = folder, 0, 0
        self.change: Any = None

    def compile(self, text: str, defines: tuple[str, ...], together: bool) -> Module:
        """In place of `source.compile_module`."""
        text = self.change(text) if self.change else text
        assert together or "__nanosleep" not in text, "blocks that wait for one another must be launched together"
        kernels = re.findall(KERNEL, text)
        text = '#include "cuda_on_cpu.h"\n' + re.sub(SHARED, r"\1* \2 = (\1*)cpu::shared_memory;", text)
        for name in kernels:
            text += (
                f'extern "C" void launch_{name}(void** arguments, unsigned x, unsigned y, unsigned block, '
                f"size_t bytes, unsigned seed) {{ cpu::launch({name}, arguments, {{x, y}}, block, bytes, seed); }}\n"
            )
        key = hashlib.sha256(repr((text, defines)).encode()).hexdigest()[:20]
        library = self.folder / f"{key}.so"
        if not library.exists():
            (self.folder / f"{key}.cpp").write_text(text)
            build(
                self.folder / f"{key}.cpp", library, *(f"-D{define}" for define in defines), self.folder / "libcpu.so"
            )
        return Module(ctypes.CDLL(str(library)), self, together)


class Module:
    """As `cupy.RawModule`."""

    def __init__(self, library: ctypes.CDLL, shim: Shim, together: bool):
        self.library, self.shim, self.together = library, shim, together

    def get_function(self, name: str) -> Any:
        """A kernel, called as CuPy's are; all its arguments are addresses and whole numbers."""
        function = getattr(self.library, f"launch_{name}")

        def kernel(grid: tuple[int, ...], block: tuple[int], arguments: tuple[int, ...], shared_mem: int = 0) -> None:
            blocks, most = int(np.prod(grid)), choice.device()[0]
            if self.together and blocks > most:  # as the driver says where a multiprocessor has room for one
                raise ValueError(f"{blocks} blocks cannot run at once on {most} multiprocessors")
            values = [(ctypes.c_double if isinstance(a, float) else ctypes.c_longlong)(a) for a in arguments]
            places = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
            self.shim.launches += 1
            function(places, *(*grid, 1)[:2], block[0], ctypes.c_size_t(shared_mem), self.shim.seed)

        return kernel


@pytest.fixture(scope="session")
def shim_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled kernels of all tests."""
    if shutil.which("g++") is None:
        pytest.skip("the CUDA kernels run on the CPU through g++, which is not on the PATH")
    folder = tmp_path_factory.mktemp("kernels")
    build(HERE / "cuda_on_cpu.cpp", folder / "libcpu.so")
    return folder


@pytest.fixture
def shim(shim_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """NumPy arrays are taken for a device's, and the kernels run through the shim."""
    found = Shim(shim_folder)
    monkeypatch.setattr(source, "compile_module", found.compile)
    monkeypatch.setattr(choice, "on_gpu", lambda xp: True)
    monkeypatch.setattr(choice, "device", lambda: (132, 227 * 1024))
    monkeypatch.setattr(choice, "launches_together", lambda: True)
    monkeypatch.setattr(choice, "THREADS", 32)  # fibers take their time
    monkeypatch.setattr(choice, "tf32", lambda: False)
    source.forget()
    yield found
    source.forget()
