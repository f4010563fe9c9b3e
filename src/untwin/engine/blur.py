"""The blurred magnitude of volumes as machine code, with what a threshold is told by: one call of a third of an iteration's cost.

A Gaussian blur is one along each axis after the other, and a line along an axis is transformed, multiplied and transformed back while it
lies in the cache. Magnitudes are real, and so is the kernel: two halves of the array go through as one complex array of half its size.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from untwin.engine import builder, memory, transform
from untwin.engine.builder import CompiledFunction, const, f32, f64, i8, shared_cache
from untwin.engine.transform import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_SUMS = 24  # float64 accumulators of each thread: Σ m², Σ m⁴, the largest m, of up to 8 lanes
_THREADING_PIXELS = 100_000  # pixels from which waking a thread pays
_LINE = 3  # the axis of the scratch lines, behind those of the array


class Kernel(Layout):
    """Builds the function. Its arguments: x, support, tables, workspace, blurred.

    tables: of the three axes, each in the order in which a forward transform leaves frequencies. Element i of the first axis of the
    packed array holds pixel i as its real part, pixel i + N/2 as its imaginary one.
    """

    def __init__(self, shape: tuple[int, ...], real: bool) -> None:
        super().__init__((shape[0] // 2, *shape[1:]))
        self.outer, self.real, self.parts = shape, real, 1 if real else 2
        self._build()

    def workspace(self, threads: int) -> int:
        """Floats: the packed array; then, for each thread, accumulators and a pair of lines along the first axis."""
        return self.size + threads * self._own

    @property
    def _own(self) -> int:
        return 2 * _SUMS + 2 * self.lanes * self.outer[0]

    def _build(self) -> None:
        b = self.b
        self.x, self.tables, self.packed, self.blurred = (self.argument(k, f32) for k in (0, 2, 3, 4))
        self.support = self.argument(1, i8)
        own = self.gep(self.packed, self.size, b.mul(self.thread, const(self._own)))
        self.accumulators, self.line = b.bitcast(own, ir.PointerType(f64)), self.gep(own, 2 * _SUMS)
        for k in range(3):
            self.store(ir.Constant(self.double_vector, [0.0] * self.lanes), self._accumulator(k), 8)
        self.lines(self.packed, 2, self._row)
        table = self.gep(self.tables, self.outer[0])
        self.lines(self.packed, 1, lambda line, _: self._filter(line, 1, table))
        self.grid, self.pitch = (*self.grid, self.outer[0]), [*self.pitch, 2 * self.lanes]
        with self.loop(*self.thread_range(self.outer[1] // 2)) as (j,), self.loop(const(0), const(self.grid[2])) as (k,):
            self._pair(b.mul(j, const(2)), k)
        b.ret_void()

    def _accumulator(self, k: int) -> Any:
        return self.gep(self.accumulators, self.lanes * k, kind=f64)

    def _row(self, row: Any, number: Any) -> None:
        """Two rows of |x| as one complex row, blurred along the last axis."""
        other = self.b.add(number, const(self.outer[0] // 2 * self.outer[1]))
        with self.loop(const(0), const(self.grid[2])) as (i,):
            self.store_complex((self._magnitude(number, i), self._magnitude(other, i)), self.along(row, 2, i))
        self.forward(row, 2)
        table = self.gep(self.tables, self.outer[0] + self.outer[1])
        with self.loop(const(0), const(self.grid[2])) as (i,):
            address = self.along(row, 2, i)
            factor = self.load(self.gep(table, self.b.mul(i, const(self.lanes))), self.vector, 4)
            self.store_complex(self.scale(self.load_complex(address), factor), address)
        self.inverse(row, 2)

    def _magnitude(self, row: Any, i: Any) -> Any:
        """Of element i of a row of x, counted over the other axes."""
        pixel = self.b.mul(self.b.add(self.b.mul(row, const(self.grid[2])), i), const(self.lanes))
        address = self.gep(self.x, self.b.mul(pixel, const(self.parts)))
        first = self.load(address, self.vector, 4)
        if self.real:
            return self.sqrt(self.mul(first, first))
        return self.sqrt(self.abs2(self.deinterleave(first, self.load(self.gep(address, self.lanes), self.vector, 4))))

    def _filter(self, line: Any, axis: int, table: Any) -> None:
        self.forward(line, axis)
        with self.loop(const(0), const(self.grid[axis])) as (i,):
            address = self.along(line, axis, i)
            self.store_complex(self.scale(self.load_complex(address), self.load_broadcast(self.gep(table, i))), address)
        self.inverse(line, axis)

    def _pair(self, j: Any, k: Any) -> None:
        """Lines j and j + 1 of element k along the first axis, unpacked into one complex line, blurred, and stored with their sums."""
        b, half = self.b, self.outer[0] // 2
        with self.loop(const(0), const(half)) as (i,):
            first, second = (
                self.load_complex(self.along(self.along(self.along(self.packed, 0, i), 1, row), 2, k)) for row in (j, b.add(j, const(1)))
            )
            self.store_complex((first[0], second[0]), self.along(self.line, _LINE, i))
            self.store_complex((first[1], second[1]), self.along(self.line, _LINE, b.add(i, const(half))))
        self._filter(self.line, _LINE, self.tables)
        zero = self.splat(0)
        with self.loop(const(0), const(self.outer[0]), zero, zero, zero) as loop:
            for part, m in enumerate(self.load_complex(self.along(self.line, _LINE, loop[0]))):
                row = b.add(b.mul(loop[0], const(self.outer[1])), b.add(j, const(part)))
                pixel = b.mul(b.add(b.mul(row, const(self.grid[2])), k), const(self.lanes))
                self.store(m, self.gep(self.blurred, pixel), 4)
                mask = self.load(self.gep(self.support, pixel, kind=i8), self.byte_vector, 1)
                inside = b.icmp_unsigned("!=", mask, ir.Constant(self.byte_vector, [0] * self.lanes))
                square = b.select(inside, self.mul(m, m), zero)
                larger = b.select(self.less(loop[3], m), m, loop[3])
                loop[1:] = [self.add(loop[1], square), self.add(loop[2], self.mul(square, square)), larger]
        for n, value in enumerate(loop[1:3]):
            total = b.fadd(self.load(self._accumulator(n), self.double_vector, 8), b.fpext(value, self.double_vector))
            self.store(total, self._accumulator(n), 8)
        most, value = self.load(self._accumulator(2), self.double_vector, 8), b.fpext(loop[3], self.double_vector)
        self.store(b.select(b.fcmp_ordered("<", most, value), value, most), self._accumulator(2), 8)


def takes(x: Tensor) -> bool:
    """True where `run` can do it: volumes whose first two axes are even, and that engine.iterations takes."""
    from untwin.engine import iterations

    return x.ndim == 4 and x.shape[1] > 2 and x.shape[1] % 2 == 0 and x.shape[2] % 2 == 0 and iterations.takes(x) and usable()


@shared_cache(8)
def _compile(shape: tuple[int, ...], real: bool) -> tuple[CompiledFunction, Kernel]:
    kernel = Kernel(shape, real)
    return CompiledFunction(kernel.module), kernel


@lru_cache(maxsize=8)
def _squares(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """−2π² (k / N)² of the three axes, one after the other, in the order of the transforms; and the axis of each."""
    lanes = transform.lanes(shape) or 1
    orders = [transform.order(n) for n in shape[:-1]] + [transform.last_order(shape[-1], lanes)]
    values = [-2 * np.pi**2 * np.fft.fftfreq(n)[at] ** 2 for n, at in zip(shape, orders)]
    return np.concatenate(values), np.repeat(np.arange(3), shape)


def run(x: Tensor, sigma: Sequence[float], support: Tensor) -> tuple[Tensor, Tensor]:
    """|x| blurred by sigma pixels, (starts, *grid) float32, one sigma for each start; and (starts, 3) float64 of it: Σ m² and Σ m⁴ inside
    the support, and the largest m.

    x: (starts, *grid) complex64 or float32. support: (starts, *grid) bool, contiguous in the grid.
    """
    import torch

    starts, shape = len(x), tuple(x.shape[1:])
    function, kernel = _compile(shape, not x.is_complex())
    threads = 1
    if builder.THREADED and math.prod(shape) > _THREADING_PIXELS:
        threads = min(torch.get_num_threads(), shape[0] // 2, shape[1] // 2)
    out, work = memory.empty(tuple(x.shape), torch.float32), memory.empty((kernel.workspace(threads),), torch.float32)
    squares, axis = _squares(shape)
    scale = np.where(axis == 0, 1 / math.prod(shape), 1.0)
    figures = torch.empty(starts, 3, dtype=torch.float64)
    sums = np.empty((threads, 3, kernel.lanes))
    for i in range(starts):
        tables = (scale * np.exp(sigma[i] ** 2 * squares)).astype(np.float32)
        function(threads, x[i].data_ptr(), support[i].data_ptr(), tables.ctypes.data, work.data_ptr(), out[i].data_ptr())
        for thread in range(threads):
            at = kernel.size + thread * kernel._own
            sums[thread] = work[at : at + 6 * kernel.lanes].numpy().view(np.float64).reshape(3, kernel.lanes)
        figures[i] = torch.tensor([sums[:, 0].sum(), sums[:, 1].sum(), sums[:, 2].max()])
    return out, figures


@lru_cache
def usable() -> bool:
    """True where the machine code agrees with torch on a small example."""
    import torch

    x = torch.randn(2, 6, 4, 16, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    support = x.real > 0
    try:
        out, figures = run(x, (0.6, 1.5), support)
    except (AttributeError, OSError, RuntimeError, TypeError):  # an llvmlite that this was not written for
        return False
    k = torch.meshgrid(*(torch.fft.fftfreq(n) for n in x.shape[1:]), indexing="ij")
    transfer = torch.exp(-2 * torch.pi**2 * torch.tensor([0.6, 1.5]).reshape(2, 1, 1, 1) ** 2 * sum(v.square() for v in k))
    m = torch.fft.ifftn(torch.fft.fftn(x.abs(), dim=(1, 2, 3)) * transfer, dim=(1, 2, 3)).real
    square = (m * support).square().flatten(1)
    expected = torch.stack([square.sum(1), square.square().sum(1), m.flatten(1).amax(1)], 1).double()
    return torch.allclose(out, m, atol=1e-4) and torch.allclose(figures, expected, rtol=1e-4)
