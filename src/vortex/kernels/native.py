"""The compiled core as Python sees it: what `dispatch.load` gives. The stub beside (`_native.pyi`) has its classes.

mypy holds this against the stub, and a test holds the stub against the compiled module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # the module itself may not have been built
    from vortex.kernels import _native

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


class NativeCore(Protocol):
    """Rows are [T, columns] float32; shapes that do not fit raise ValueError."""

    def available(self) -> list[str]:
        """Instruction sets that this CPU has, best first."""
        ...

    def use(self, name: str, /) -> bool: ...

    def current(self) -> str: ...

    def set_threads(self, threads: int, /) -> None: ...

    def threads(self) -> int:
        """0: not set yet."""
        ...

    def tile_bytes(self, kind: int, rows: int, columns: int, /) -> int:
        """Of a packed matrix."""
        ...

    def gguf_bytes(self, kind: int, rows: int, columns: int, /) -> int: ...

    def pack(self, kind: int, gguf: Bytes, rows: int, columns: int, tiles: Bytes, /) -> None: ...

    def product(self, matrix: _native.Matrix, x: Floats, y: Floats, /) -> None: ...

    def gather(self, matrix: _native.Matrix, ids: NDArray[np.int64], scale: float, out: Floats, /) -> None:
        """Rows of the matrix as floats, times `scale`."""
        ...

    def rms_norm(self, x: Floats, weight: Floats, epsilon: float, y: Floats, /) -> None: ...

    def gate_scores(self, x: Floats, weight: Floats, bias: float, scores: Floats, /) -> None: ...

    def blend(self, x: Floats, y: Floats, scales: Floats, /) -> None:
        """x += scale * (y - x), row by row; y is used up."""
        ...

    def decode_bf16e3(self, rest: Bytes, codes: Bytes, top: int, escapes: Bytes, out: Bytes, /) -> int:
        """The number of escapes that the codes ask for."""
        ...

    def read_all(self, data: Bytes, /) -> None:
        """Every byte once, on all threads."""
        ...

    def multiply_registers(self, rounds: int, /) -> int:
        """Multiplications and additions done in registers."""
        ...

    @property
    def Matrix(self) -> type[_native.Matrix]: ...

    @property
    def Layer(self) -> type[_native.Layer]: ...

    @property
    def Workspace(self) -> type[_native.Workspace]: ...

    @property
    def Sweep(self) -> type[_native.Sweep]: ...

    @property
    def Expert(self) -> type[_native.Expert]: ...

    @property
    def ExpertWorkspace(self) -> type[_native.ExpertWorkspace]: ...

    @property
    def CoreLayer(self) -> type[_native.CoreLayer]: ...

    @property
    def CoreSpan(self) -> type[_native.CoreSpan]: ...

    @property
    def CoreWorkspace(self) -> type[_native.CoreWorkspace]: ...

    @property
    def CoreStack(self) -> type[_native.CoreStack]: ...
