"""cuBLAS's matrix products, computed by NumPy.

CuPy's cuBLAS module is linked to a library that is not installed. `stub` loads an empty library with the same symbols
in its place, and `Products` replaces the functions that CuPy's matmul calls. Matrices are column-major, as in Fortran.
"""

from __future__ import annotations

import ctypes
import pathlib
import re
import subprocess
import tempfile
from types import ModuleType
from typing import Any

import numpy as np

from minires.cupy_on_cpu.null_device import NullDevice
from minires.cupy_on_cpu.record import DeviceFault, Launch

_DTYPES: dict[int, np.dtype[Any]] = {  # cudaDataType
    0: np.dtype(np.float32),
    1: np.dtype(np.float64),
    2: np.dtype(np.float16),
    4: np.dtype(np.complex64),
    5: np.dtype(np.complex128),
}
_FLOAT16_SUMS = 2, 64, 65  # codes for sums in float16: a cudaDataType and two of cublasComputeType
_CONJUGATED = 2  # cublasOperation: transposed and conjugated; 1 is transposed, 0 is neither


def stub(module: pathlib.Path, cache: pathlib.Path) -> None:
    """Load empty libraries with the names and symbols that CuPy's compiled cuBLAS module needs.

    Parameters
    ----------
    module : its file
    cache : a folder for the libraries
    """
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", module], capture_output=True, text=True, check=True
    ).stdout
    functions = sorted({name.partition("@")[0] for name in re.findall(r"\bU (cublas\S+)", symbols)})
    needed = subprocess.run(["objdump", "-p", module], capture_output=True, text=True, check=True).stdout
    for name in re.findall(r"NEEDED\s+(libcublas\S*)", needed):
        path = cache / f"{module.stat().st_size}-{name}"
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                code, versions = pathlib.Path(folder, "stub.c"), pathlib.Path(folder, "versions")
                code.write_text("".join(f"int {function}() {{ return 0; }}\n" for function in functions))
                versions.write_text(f"{name} {{ global: *; }};\n")
                made = pathlib.Path(folder, name)
                linking = [f"-Wl,-soname,{name}", f"-Wl,--version-script={versions}"]
                subprocess.run(["gcc", "-w", "-shared", "-fPIC", *linking, "-o", made, code], check=True)
                made.replace(path)
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)


class Products:
    """The functions for matrix products, on the memory of a device."""

    def __init__(self, device: NullDevice) -> None:
        self.device = device

    def replace(self, cublas: ModuleType) -> None:
        """Put the functions into CuPy's module."""
        cublas.create = lambda: 1 + self.device.current  # type: ignore[attr-defined]
        cublas.gemmEx = self.gemm  # type: ignore[attr-defined]
        cublas.gemmStridedBatchedEx = self.gemm_strided  # type: ignore[attr-defined]
        for letter, dtype in zip("sdcz", (0, 1, 4, 5), strict=True):
            setattr(cublas, f"{letter}gemmBatched", self._batched(f"cublas{letter.upper()}gemmBatched", dtype))

    def gemm(
        self, handle: int, ta: int, tb: int, m: int, n: int, k: int, alpha: int, a: int, type_a: int, lda: int, b: int,
        type_b: int, ldb: int, beta: int, c: int, type_c: int, ldc: int, *how: int,
    ) -> None:  # fmt: skip
        """Multiply two matrices, as cublasGemmEx does."""
        self._need_wide(how)
        self._note("cublasGemmEx", handle, m, n, 1)
        factors = _factor(alpha, type_c), _factor(beta, type_c)
        self._multiply(ta, tb, m, n, k, (a, lda, type_a), (b, ldb, type_b), (c, ldc, type_c), factors)

    def gemm_strided(
        self, handle: int, ta: int, tb: int, m: int, n: int, k: int, alpha: int, a: int, type_a: int, lda: int,
        step_a: int, b: int, type_b: int, ldb: int, step_b: int, beta: int, c: int, type_c: int, ldc: int, step_c: int,
        count: int, *how: int,
    ) -> None:  # fmt: skip
        """Multiply stacks of matrices, as cublasGemmStridedBatchedEx does."""
        self._need_wide(how)
        self._note("cublasGemmStridedBatchedEx", handle, m, n, count)
        factors = _factor(alpha, type_c), _factor(beta, type_c)
        for i in range(count):
            x, y, z = (
                (start + i * step * _DTYPES[dtype].itemsize, leading, dtype)
                for start, step, leading, dtype in (
                    (a, step_a, lda, type_a),
                    (b, step_b, ldb, type_b),
                    (c, step_c, ldc, type_c),
                )
            )
            self._multiply(ta, tb, m, n, k, x, y, z, factors)

    def _batched(self, name: str, dtype: int) -> Any:
        def gemm(
            handle: int, ta: int, tb: int, m: int, n: int, k: int, alpha: int, a: int, lda: int, b: int, ldb: int,
            beta: int, c: int, ldc: int, count: int,
        ) -> None:  # fmt: skip
            self._note(name, handle, m, n, count)
            factors = _factor(alpha, dtype), _factor(beta, dtype)
            for x, y, z in zip(*(_addresses(start, count) for start in (a, b, c)), strict=True):
                self._multiply(ta, tb, m, n, k, (x, lda, dtype), (y, ldb, dtype), (z, ldc, dtype), factors)

        return gemm

    def _note(self, name: str, handle: int, m: int, n: int, count: int) -> None:
        """Record a launch with a block for each 128 × 128 part of a result; cuBLAS's real grid is not known."""
        self.device.need_current(f"{name} by the handle", handle - 1)
        grid = -(-m // 128), -(-n // 128), max(1, count)
        self.device.note(lambda record: record.launches.append(Launch(name, grid, (256, 1, 1), 0)))

    def _need_wide(self, how: tuple[int, ...]) -> None:
        """Raise DeviceFault for sums in float16: `_multiply` makes float32 sums of float16 operands."""
        if how[0] in _FLOAT16_SUMS:
            raise DeviceFault(f"cuBLAS: a product with sums in float16 (compute type {how[0]}) is not known here")

    def _multiply(
        self, ta: int, tb: int, m: int, n: int, k: int, a: Any, b: Any, c: Any, factors: tuple[Any, Any]
    ) -> None:
        """Set C = alpha · op(A) · op(B) + beta · C."""
        for (_, leading, _), rows, name in ((a, k if ta else m, "A"), (b, n if tb else k, "B"), (c, m, "C")):
            if leading < max(1, rows):
                raise DeviceFault(f"cuBLAS: the leading dimension of {name} is {leading}, less than its {rows} rows")
        self.device.check_addresses("cuBLAS", np.array([a[0], b[0], c[0]], np.uintp))
        if self.device.execute is None or 0 in (m, n):
            return
        result = _matrix(c, m, n)
        wide = np.promote_types(result.dtype, np.float32)
        left = _operand(a, ta, m, k).astype(wide)
        with np.errstate(all="ignore"):  # a GPU never warns
            product = factors[0] * (left @ _operand(b, tb, k, n).astype(wide))
            result[...] = product + factors[1] * result if factors[1] else product


def _operand(where: tuple[int, int, int], operation: int, rows: int, columns: int) -> Any:
    """Return op(A): A itself, transposed, or transposed and conjugated."""
    if not operation:
        return _matrix(where, rows, columns)
    turned = _matrix(where, columns, rows).T
    return turned.conj() if operation == _CONJUGATED else turned


def _matrix(where: tuple[int, int, int], rows: int, columns: int) -> Any:
    """Return the column-major matrix (rows, columns) at (address, leading dimension, dtype), a view if not empty."""
    address, leading, code = where
    dtype = _DTYPES[code]
    if 0 in (rows, columns):  # a product of no terms: cuBLAS does not read the operands, and C = beta · C
        return np.empty((rows, columns), dtype)
    count = leading * (columns - 1) + rows
    elements = np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(address), dtype)
    strides = (dtype.itemsize, leading * dtype.itemsize)
    return np.lib.stride_tricks.as_strided(elements, (rows, columns), strides)


def _factor(address: int, dtype: int) -> Any:
    """Return alpha or beta from the host's memory; for float16 products it is a float32."""
    known = np.promote_types(_DTYPES[dtype], np.float32)
    return np.frombuffer((ctypes.c_char * known.itemsize).from_address(address), known)[0]


def _addresses(start: int, count: int) -> list[int]:
    return [int(address) for address in (ctypes.c_uint64 * count).from_address(start)]
