"""Blocks of memory that are used again: a fresh large array costs a page fault every 4 KiB, more than the pass that fills it.

A tensor from here owns its block until nothing refers to it any more; then the block waits for the next array of its size.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SMALL = 2**20  # bytes below which the allocator of the system is as good
MAX_FREE_BLOCKS = 4  # free blocks of one size that are kept,
LARGE, MAX_FREE_LARGE = 2**25, 2  # and of blocks from so many bytes on: an iteration takes two
SIZES = 4  # sizes that are remembered
_PAGE = 4096
_free: dict[int, list[np.ndarray]] = {}


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised CPU tensor, contiguous."""
    import torch

    size = math.prod(shape) * dtype.itemsize
    if size < SMALL:
        return torch.empty(shape, dtype=dtype)
    if size not in _free and len(_free) >= SIZES:
        release()  # another problem has begun
    waiting = _free.setdefault(size, [])
    try:
        block = waiting.pop()  # in one go: another thread of Python may ask for it, too
    except IndexError:
        block = _block(size)
    lent = block[:]  # a view: the tensor holds it, and its end is the end of the last tensor on it
    weakref.finalize(lent, _back, size, block).atexit = False
    return torch.from_numpy(lent).view(dtype).reshape(shape)


def _block(size: int) -> np.ndarray:
    buffer = np.empty(size + _PAGE, np.uint8)  # NumPy asks the system for huge pages
    return buffer[-buffer.ctypes.data % _PAGE :][:size]


def _back(size: int, block: np.ndarray) -> None:
    waiting = _free.get(size)
    if waiting is not None and len(waiting) < (MAX_FREE_BLOCKS if size < LARGE else MAX_FREE_LARGE):
        waiting.append(block)


def release() -> None:
    """Give the waiting blocks back to the system; those in use follow when they are done."""
    _free.clear()
    if _trim is not None:
        _trim(0)


def _of_glibc() -> Callable[[int], int] | None:
    """malloc_trim: arrays of some 10 MB lie on the heap, which glibc keeps when they are freed."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


_trim = _of_glibc()
