"""Many iterations of one array in one call, transforms included, as machine code compiled for its grid (a third of a second, once in
a process).

The array lies in vector registers by pieces (engine.transform). An iteration is two sweeps over memory: along the first axis transform,
modulus and transform back; along the last transform back, update and transform again. A third axis takes one more sweep each way. A
transform and a pass by themselves go over memory three times as often.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from untwin.engine import builder, memory, selection, transform
from untwin.engine.builder import CompiledFunction, Complex, const, f32, f64, i1, i8, i32, shared_cache
from untwin.engine.transform import Layout

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.engine.rows import Coefficients, ConstraintFlags, Fienup

CAPPED, SOFT, POSITIVE, FIENUP = 1, 2, 4, 8  # flags
_SUMS = 24  # float64 accumulators of each thread: 3 sums (error, Σ m², Σ m⁴) × up to 8 lanes
_THREADING_PIXELS = 100_000  # pixels from which waking a thread pays


class Kernel(Layout):
    """Builds the function. Its arguments: iterations, x, support, target, row = [a, c, s, u, v, rho, damping], flags, workspace, x', y,
    error (float64), k. largest: under the constraint that the k largest positive values stay (2D and real, one thread)."""

    def __init__(self, shape: tuple[int, ...], real: bool, largest: bool = False) -> None:
        super().__init__(shape)
        self.real, self.parts = real, 1 if real else 2  # floats of a pixel of x and y outside
        self.largest = largest
        self._build()

    def workspace(self) -> int:
        """Bytes: the wave and x. Each thread needs 8 · _SUMS more."""
        return 8 * self.size

    def _build(self) -> None:
        b, steps, flags = self.b, self.argument(0), self.argument(5)
        x, self.target, row, self.wave, after, estimate = (self.argument(k, f32) for k in (1, 3, 4, 6, 7, 8))
        self.support = self.argument(2, i8)
        self.a, self.c, self.s, self.u, self.v, self.rho, self.damping = (self.load_broadcast(self.gep(row, k)) for k in range(7))
        self.capped, self.soft, self.positive, self.fienup = (b.trunc(b.lshr(flags, const(k)), i1) for k in range(4))
        self.sums = b.bitcast(self.gep(self.wave, 2 * self.size), ir.PointerType(f64))
        own = self.gep(self.sums, b.mul(self.thread, const(_SUMS)), kind=f64)
        self.error, self.sum2, self.sum4 = (self.gep(own, self.lanes * k, kind=f64) for k in range(3))
        if self.largest:
            self.search = selection.Search(self, self.gep(self.wave, self.size + self.lanes), self.sum2, self.argument(10))
        self._rows(lambda line, number: self._load_row(line, number, x))
        with self.loop(const(0), steps) as (t,):
            self._iteration(b.icmp_signed("==", b.add(t, const(1)), steps), estimate)
        self._rows(lambda line, number: self._store_row(self._in_object(line), number, after))
        b.store(self._reduce(0), self.argument(9, f64))
        b.ret_void()

    # addresses

    def _rows(self, each: Callable[[Any, Any], None]) -> None:
        self.lines(self.wave, self.last_axis, each)

    def _in_object(self, address: Any) -> Any:
        """The element of x that belongs to an element of the wave: x lies behind the wave in the workspace."""
        return self.gep(address, self.size)

    def _pixel_index(self, number: Any, i: Any) -> Any:
        """Index of the first pixel of element i of row `number`."""
        return self.b.mul(self.b.add(self.b.mul(number, const(self.grid[-1])), i), const(self.lanes))

    def _support_mask(self, number: Any, i: Any) -> Any:
        mask = self.load(self.gep(self.support, self._pixel_index(number, i), kind=i8), self.byte_vector, 1)
        return self.b.icmp_unsigned("!=", mask, ir.Constant(self.byte_vector, [0] * self.lanes))

    # load and store

    def _load_row(self, row: Any, number: Any, x: Any) -> None:
        with self.loop(const(0), const(self.grid[-1])) as (i,):
            address = self.gep(x, self.b.mul(self._pixel_index(number, i), const(self.parts)))
            first = self.load(address, self.vector, 4)
            z = (first, self.splat(0)) if self.real else self.deinterleave(first, self.load(self.gep(address, self.lanes), self.vector, 4))
            to = self.along(row, self.last_axis, i)
            self.store_complex(z, to)
            self.store_complex(z, self._in_object(to))
        self.forward(row, self.last_axis)

    def _store_row(self, row: Any, number: Any, to: Any) -> None:
        with self.loop(const(0), const(self.grid[-1])) as (i,):
            z = self.load_complex(self.along(row, self.last_axis, i))
            address = self.gep(to, self.b.mul(self._pixel_index(number, i), const(self.parts)))
            for k, values in enumerate(z[:1] if self.real else self.interleave(z)):
                self.store(values, self.gep(address, k * self.lanes), 4)

    # an iteration

    def _iteration(self, last: Any, estimate: Any) -> None:
        b, middle = self.b, range(1, self.last_axis)
        for accumulator in (self.error,) if self.largest else (self.error, self.sum2, self.sum4):
            self.store(ir.Constant(self.double_vector, [0.0] * self.lanes), accumulator, 8)
        for axis in middle:
            self.lines(self.wave, axis, lambda line, _, axis=axis: self.forward(line, axis))
        self.lines(self.wave, 0, self._impose)
        for axis in middle:
            self.lines(self.wave, axis, lambda line, _, axis=axis: self.inverse(line, axis))

        def back(row: Any, number: Any) -> None:
            self.inverse(row, self.last_axis)
            with b.if_then(last):
                self._store_row(row, number, estimate)

        if self.largest:
            self._rows(lambda row, number: self._candidates(row, number, back))
            threshold = self.broadcast(self.search.threshold())
            self._rows(lambda row, number: self._update_row(row, number, threshold))
            return

        def first(row: Any, number: Any) -> None:
            back(row, number)
            self._moments(row, number)

        def at_once(row: Any, number: Any) -> None:
            back(row, number)
            self._update_row(row, number, None)

        with b.if_else(self.capped) as (yes, no):
            with yes:
                self._rows(first)
                sum2, sum4 = self._reduce(1), self._reduce(2)
                sum2 = b.select(b.fcmp_ordered("<", sum2, f64(1e-30)), f64(1e-30), sum2)
                level = self.mul(self.broadcast(b.fptrunc(b.fdiv(sum4, sum2), f32)), self.splat(1 + 1e-5))
                self._rows(lambda row, number: self._update_row(row, number, level))
            with no:
                self._rows(at_once)

    def _accumulate(self, value: Any, accumulator: Any) -> None:
        """accumulator += value, in float64."""
        total = self.b.fadd(self.load(accumulator, self.double_vector, 8), self.b.fpext(value, self.double_vector))
        self.store(total, accumulator, 8)

    def _reduce(self, k: int) -> Any:
        """The k-th sum, over all threads and lanes."""
        with self.loop(const(0), self.threads, f64(0.0)) as loop:
            lanes = self.load(self.gep(self.sums, self.b.mul(loop[0], const(_SUMS)), self.lanes * k, kind=f64), self.double_vector, 8)
            loop[1] = reduce(self.b.fadd, (self.b.extract_element(lanes, i32(j)) for j in range(self.lanes)), loop[1])
        return loop[1]

    def _impose(self, line: Any, number: Any) -> None:
        """Forward transform along the first axis, plain.modulus, inverse transform."""
        b, n = self.b, self.grid[0]
        target = self.gep(self.target, b.mul(number, const(n * self.lanes)))
        zero, share = self.splat(0), self.splat(1 / math.prod(self.shape))

        def impose(factor: Callable[[Any, Any], Any]) -> None:
            with self.loop(const(0), const(n), zero) as loop:
                address = self.along(line, 0, loop[0])
                z, a = self.load_complex(address), self.load(self.gep(target, b.mul(loop[0], const(self.lanes))), self.vector, 4)
                f = self.sqrt(self.add(self.mul(self.abs2(z), share), self.splat(1e-30)))
                free = self.less(a, zero)
                missing = b.select(free, zero, self.sub(f, a))
                loop[1] = self.add(loop[1], self.mul(missing, missing))
                self.store_complex(self.scale(z, self.mul(b.select(free, self.damping, factor(f, a)), share)), address)
            self._accumulate(loop[1], self.error)

        def soft(f: Any, a: Any) -> Any:
            one, h = self.add(self.rho, self.splat(1)), self.mul(self.rho, f)
            root = self.sqrt(self.add(self.mul(h, h), self.mul(self.mul(self.splat(4), one), self.mul(a, a))))
            return self.div(self.add(h, root), self.mul(f, self.mul(self.splat(2), one)))

        self.forward(line, 0)
        with b.if_else(self.soft) as (yes, no):
            with yes:
                impose(soft)
            with no:
                impose(lambda f, a: self.div(a, f))
        self.inverse(line, 0)

    def _axpby(self, x: Complex, y: Complex) -> Complex:
        """u x + v y."""
        return self.cadd(self.scale(x, self.u), self.scale(y, self.v))

    def _moments(self, row: Any, number: Any) -> None:
        b, zero = self.b, self.splat(0)
        with self.loop(const(0), const(self.grid[-1]), zero, zero) as loop:
            w = self.along(row, self.last_axis, loop[0])
            z = self._axpby(self.load_complex(self._in_object(w)), self.load_complex(w))
            f = self.mul(z[0], z[0]) if self.real else self.abs2(z)
            excluded = b.and_(self._broadcast_flag(self.positive), self.less(z[0], zero))
            f = b.select(b.and_(self._support_mask(number, loop[0]), b.not_(excluded)), f, zero)
            loop[1:] = [self.add(loop[1], f), self.add(loop[2], self.mul(f, f))]
        self._accumulate(loop[1], self.sum2)
        self._accumulate(loop[2], self.sum4)

    def _candidates(self, row: Any, number: Any, back: Callable[[Any, Any], None]) -> None:
        """A row of y, and u x + v y inside the support, where the imaginary part of x would be."""
        back(row, number)
        with self.loop(const(0), const(self.grid[-1])) as (i,):
            w = self.along(row, self.last_axis, i)
            x, y = self.load_complex(self._in_object(w)), self.load_complex(w)
            z = self.b.select(self._support_mask(number, i), self._axpby(x, y)[0], self.splat(0))
            self.store_complex((x[0], z), self._in_object(w))

    def _broadcast_flag(self, flag: Any) -> Any:
        """A flag in all lanes."""
        kind = ir.VectorType(i1, self.lanes)
        return self.b.select(flag, ir.Constant(kind, [1] * self.lanes), ir.Constant(kind, [0] * self.lanes))

    def _update_row(self, row: Any, number: Any, level: Any) -> None:
        """A row of x' (plain.update, plain.fienup) over x and over the wave, and the forward transform of the latter."""
        formula = self._update_real if self.real else self._update_linear if level is None else self._update_capped
        formula = self._update_largest if self.largest else formula
        with self.loop(const(0), const(self.grid[-1])) as (i,):
            w = self.along(row, self.last_axis, i)
            new = formula(self.load_complex(self._in_object(w)), self.load_complex(w), self._support_mask(number, i), level)
            self.store_complex(new, w)
            self.store_complex(new, self._in_object(w))
        self.forward(row, self.last_axis)

    def _update_linear(self, x: Complex, y: Complex, inside: Any, _: Any) -> Complex:
        p, q = self.add(self.a, self.mul(self.s, self.u)), self.add(self.c, self.mul(self.s, self.v))
        return self.cadd(self.scale(x, self.b.select(inside, p, self.a)), self.scale(y, self.b.select(inside, q, self.c)))

    def _update_capped(self, x: Complex, y: Complex, inside: Any, level: Any) -> Complex:
        b, z = self.b, self._axpby(x, y)
        f = self.abs2(z)
        g = self.sqrt(self.div(level, self.add(f, self.splat(1e-30))))
        g = b.select(self.less(level, f), g, self.splat(1))
        g = b.select(inside, self.mul(self.s, g), self.splat(0))
        return self.cadd(self.scale(z, g), self.cadd(self.scale(x, self.a), self.scale(y, self.c)))

    def _update_largest(self, x: Complex, y: Complex, inside: Any, threshold: Any) -> Complex:
        zero = self.splat(0)
        z = self.b.select(self.less(threshold, x[1]), x[1], zero)  # of `_candidates`
        return self.add(self.mul(self.s, z), self.add(self.mul(self.a, x[0]), self.mul(self.c, y[0]))), zero

    def _update_real(self, x: Complex, y: Complex, inside: Any, level: Any) -> Complex:
        b, zero = self.b, self.splat(0)
        x_, y_ = x[0], y[0]
        high = self.splat(math.inf) if level is None else self.sqrt(level)
        low = b.select(self.positive, zero, self.neg(high))
        z = self.add(self.mul(self.u, x_), self.mul(self.v, y_))
        z = b.select(self.less(z, low), low, z)
        z = b.select(self.less(high, z), high, z)
        z = self.mul(b.select(inside, self.s, zero), z)
        new = self.add(z, self.add(self.mul(self.a, x_), self.mul(self.c, y_)))
        satisfied = b.or_(b.and_(inside, b.not_(self.less(y_, zero))), b.fcmp_ordered("==", y_, zero))
        fed_back = b.select(satisfied, y_, self.sub(x_, self.mul(self.a, y_)))
        return b.select(self._broadcast_flag(self.fienup), fed_back, new), zero


def takes(x: Tensor) -> bool:
    """True where `run` can do it: a grid of small factors whose last axis is a multiple of four."""
    return transform.lanes(x.shape[1:]) is not None and usable()


def arranged(target: Tensor) -> Tensor:
    """The target in the order in which the transforms leave the frequencies."""
    import torch

    return torch.from_numpy(transform.arranged(target.numpy()))


@shared_cache(16)
def _compile(grid: tuple[int, ...], real: bool, largest: bool = False) -> tuple[CompiledFunction, int]:
    """The function of a grid and the bytes of its workspace."""
    kernel = Kernel(grid, real, largest)
    return CompiledFunction(kernel.module), kernel.workspace()


@lru_cache
def usable() -> bool:
    """True where the machine code agrees with torch on a small example."""
    import torch

    from untwin.engine import plain
    from untwin.engine.rows import Coefficients, ConstraintFlags

    x = torch.randn(2, 6, 24, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    target, support, row = x[0].abs() + 0.5, x.real > -0.5, Coefficients(a=1, c=-0.9, s=1, u=-1, v=1.9)
    w = torch.fft.fft2(x, norm="ortho")
    error = plain.modulus(w, target, 0.0, 1.0, 0)
    y = torch.fft.ifft2(w, norm="ortho")
    try:
        result = run(x, support, arranged(target), row, ConstraintFlags(), 0.0, 1.0, 1)
    except (AttributeError, OSError, RuntimeError, TypeError):  # an llvmlite that this was not written for
        return False
    return all(
        torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(result, (plain.update(x, y, support, row, ConstraintFlags()), y, error))
    )


def run(
    x: Tensor,
    support: Tensor,
    target: Tensor,
    row: Coefficients | Fienup,
    flags: ConstraintFlags,
    rho: float,
    damping: float | Tensor,
    steps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """x' after `steps` iterations, y = P_M x of the last of them, and the error that its modulus projection met, (starts,) float64.

    x: (starts, *grid). support: (starts, *grid) bool, contiguous in the grid. target: `arranged`. The rest as for plain.modulus and
    plain.update.
    """
    import torch

    from untwin.engine.rows import Coefficients

    starts, pixels = len(x), x[0].numel()
    function, workspace = _compile(tuple(x.shape[1:]), not x.is_complex(), flags.largest > 0)
    after, y = (memory.empty(tuple(x.shape), x.dtype) for _ in range(2))
    threaded = builder.THREADED and pixels > _THREADING_PIXELS and not flags.largest
    threads = min(torch.get_num_threads(), *x.shape[1:-1], x.shape[-1] // 8) if threaded else 1
    work, error = memory.empty((workspace // 4 + 2 * _SUMS * threads,), torch.float32), torch.empty(starts, dtype=torch.float64)
    general = row if isinstance(row, Coefficients) else Coefficients(row.beta, 0, 0, 0, 0)
    rows = torch.tensor([general.a, general.c, general.s, general.u, general.v, rho, 1.0]).repeat(starts, 1)
    rows[:, 6] = damping.reshape(-1) if isinstance(damping, torch.Tensor) else damping
    bits = CAPPED * flags.capped + SOFT * (rho > 0) + POSITIVE * flags.positive + FIENUP * (row is not general)
    strided = [(t.data_ptr(), t.element_size() * pixels) for t in (x, after, y)]  # address of the first start, bytes to the next
    x_, after_, y_, support_, rows_, error_ = (
        range(first, first + step * starts, step) if step else [first] * starts
        for first, step in (*strided, (support.data_ptr(), support.stride(0)), (rows.data_ptr(), 28), (error.data_ptr(), 8))
    )
    for i in range(starts):
        tensors = x_[i], support_[i], target.data_ptr(), rows_[i], bits, work.data_ptr(), after_[i], y_[i], error_[i]
        function(threads, steps, *tensors, flags.largest)
    return after, y, error
