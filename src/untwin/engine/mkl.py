"""Fourier transforms by the MKL inside torch, asked directly (the DFTI interface): in place, and without the copies that torch makes.

Measured against torch.fft, mkl_fft and scipy: docs/benchmarks.md. Only where the library shows its functions (torch's Linux wheels).
"""

from __future__ import annotations

import ctypes
import math
from functools import lru_cache
from typing import TYPE_CHECKING

from untwin import engine
from untwin.engine import memory
from untwin.engine.library import library

if TYPE_CHECKING:
    from torch import Tensor

# Names and values of the DFTI interface, Intel oneMKL Developer Reference (C), "DFT functions".
_SINGLE_COMPLEX = 32
_FORWARD_SCALE, _BACKWARD_SCALE, _TRANSFORMS = 4, 5, 7
_PLACEMENT, _IN_PLACE, _NOT_IN_PLACE = 11, 43, 44
_INPUT_DISTANCE, _OUTPUT_DISTANCE = 14, 15
_FUNCTIONS = ("DftiCreateDescriptor_s_1d", "DftiCreateDescriptor_s_md", "DftiSetValue", "DftiCommitDescriptor", "DftiFreeDescriptor")


class Descriptor:
    """A committed descriptor for `batch` unitary transforms of a grid."""

    def __init__(self, grid: tuple[int, ...], batch: int, in_place: bool) -> None:
        mkl = library(*_FUNCTIONS, "DftiComputeForward", "DftiComputeBackward")
        assert mkl
        self._library, self._handle = mkl, ctypes.c_void_p()
        n, handle = math.prod(grid), ctypes.byref(self._handle)
        if len(grid) == 1:
            self._call("DftiCreateDescriptor_s_1d", handle, ctypes.c_int(_SINGLE_COMPLEX), ctypes.c_long(n))
        else:
            lengths = (ctypes.c_long * len(grid))(*grid)
            self._call("DftiCreateDescriptor_s_md", handle, ctypes.c_int(_SINGLE_COMPLEX), ctypes.c_long(len(grid)), lengths)
        self._set(_PLACEMENT, ctypes.c_int(_IN_PLACE if in_place else _NOT_IN_PLACE))
        for scale in (_FORWARD_SCALE, _BACKWARD_SCALE):
            self._set(scale, ctypes.c_double(n**-0.5))
        if batch > 1:
            self._set(_TRANSFORMS, ctypes.c_long(batch))
            self._set(_INPUT_DISTANCE, ctypes.c_long(n))
            self._set(_OUTPUT_DISTANCE, ctypes.c_long(n))
        self._call("DftiCommitDescriptor", self._handle)

    def _set(self, what: int, value: ctypes.c_int | ctypes.c_long | ctypes.c_double) -> None:
        self._call("DftiSetValue", self._handle, ctypes.c_int(what), value)

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise RuntimeError(f"MKL: {name} ended with status {status}")

    def __call__(self, inverse: bool, *addresses: int) -> None:
        self._call("DftiComputeBackward" if inverse else "DftiComputeForward", self._handle, *map(ctypes.c_void_p, addresses))

    def __del__(self) -> None:
        if self._handle:
            self._library.DftiFreeDescriptor(ctypes.byref(self._handle))


@lru_cache(maxsize=32)
def _descriptor(grid: tuple[int, ...], batch: int, in_place: bool, threads: int) -> Descriptor:
    """threads: those that torch uses now; MKL settles for a number when a descriptor is committed."""
    return Descriptor(grid, batch, in_place)


@lru_cache
def usable() -> bool:
    """True where the functions are there and agree with torch on a small example."""
    import torch

    if library(*_FUNCTIONS, "DftiComputeForward", "DftiComputeBackward") is None:
        return False
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    for inverse, reference in ((False, torch.fft.fftn), (True, torch.fft.ifftn)):
        if not torch.allclose(transform(x, 2, inverse), reference(x, dim=(-2, -1), norm="ortho"), atol=1e-5):
            return False
    return True


def takes(x: Tensor) -> bool:
    """True where `transform` can do it: plain complex64 on a CPU, nothing to differentiate."""
    import torch

    return (
        x.dtype == torch.complex64
        and x.is_cpu
        and type(x) is torch.Tensor
        and not x.requires_grad
        and x.is_contiguous()
        and not x.is_conj()
        and x.numel() > 0
        and not engine.PLAIN
        and usable()
    )


def transform(x: Tensor, d: int, inverse: bool, spent: bool = False) -> Tensor:
    """Unitary transform of x over its last d axes. spent: x is not needed any more and is used for the result."""
    import torch

    grid = tuple(x.shape[-d:])
    descriptor = _descriptor(grid, x.numel() // math.prod(grid), spent, torch.get_num_threads())
    if spent:
        descriptor(inverse, x.data_ptr())
        return x
    out = memory.empty(tuple(x.shape), x.dtype)
    descriptor(inverse, x.data_ptr(), out.data_ptr())
    return out
