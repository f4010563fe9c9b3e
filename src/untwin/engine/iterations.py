"""Many iterations of one array in one call, transforms included, as machine code made for its grid (a third of a second, once in a
process).

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

from untwin.engine import emit, memory, transform
from untwin.engine.emit import Code, Complex, f4, f8, i1, i8, i32, whole
from untwin.engine.transform import Grid

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.engine import Coefficients, Fienup, Rule

CAPPED, SOFT, POSITIVE, FIENUP = 1, 2, 4, 8  # flags
_SUMS = 24  # numbers of each thread
_WORTH = 100_000  # pixels from which waking a thread pays


class Iterations(Grid):
    """Writes the function. Its numbers: iterations, x, support, target, row = [a, c, s, u, v, rho, hole], flags, memory to work in, x', y,
    error (float64)."""

    def __init__(self, shape: tuple[int, ...], real: bool) -> None:
        super().__init__(shape)
        self.real, self.parts = real, 1 if real else 2  # floats of a pixel of x and y outside
        self._write()

    def room(self) -> int:
        """Bytes of memory to work in: the wave and x. Each thread needs 192 more for three sums."""
        return 8 * self.size

    def _write(self) -> None:
        b, steps, flags = self.b, self.given(0), self.given(5)
        x, self.target, row, self.wave, after, estimate = (self.given(k, f4) for k in (1, 3, 4, 6, 7, 8))
        self.support = self.given(2, i8)
        self.a, self.c, self.s, self.u, self.v, self.rho, self.hole = (self.spread(self.place(row, k)) for k in range(7))
        self.capped, self.soft, self.positive, self.fienup = (b.trunc(b.lshr(flags, whole(k)), i1) for k in range(4))
        self.sums = b.bitcast(self.place(self.wave, 2 * self.size), ir.PointerType(f8))
        own = self.place(self.sums, b.mul(self.thread, whole(_SUMS)), kind=f8)
        self.error, self.two, self.four = (self.place(own, self.lanes * k, kind=f8) for k in range(3))
        self._rows(lambda line, number: self._fetched(line, number, x))
        with self.loop(whole(0), steps) as (t,):
            self._iteration(b.icmp_signed("==", b.add(t, whole(1)), steps), estimate)
        self._rows(lambda line, number: self._sent(self._held(line), number, after))
        b.store(self._total(0), self.given(9, f8))
        b.ret_void()

    # places

    def _rows(self, each: Callable[[Any, Any], None]) -> None:
        self.lines(self.wave, self.last_axis, each)

    def _held(self, place: Any) -> Any:
        """Of a place in the wave: the same one in x."""
        return self.place(place, self.size)

    def _pixel(self, number: Any, i: Any) -> Any:
        """The first pixel of an element of a row."""
        return self.b.mul(self.b.add(self.b.mul(number, whole(self.grid[-1])), i), whole(self.lanes))

    def _inside(self, number: Any, i: Any) -> Any:
        flags = self.load(self.place(self.support, self._pixel(number, i), kind=i8), self.bytes, 1)
        return self.b.icmp_unsigned("!=", flags, ir.Constant(self.bytes, [0] * self.lanes))

    # in and out

    def _fetched(self, row: Any, number: Any, x: Any) -> None:
        with self.loop(whole(0), whole(self.grid[-1])) as (i,):
            here = self.place(x, self.b.mul(self._pixel(number, i), whole(self.parts)))
            first = self.load(here, self.vector, 4)
            z = (first, self.number(0)) if self.real else self.apart(first, self.load(self.place(here, self.lanes), self.vector, 4))
            to = self.along(row, self.last_axis, i)
            self.put(z, to)
            self.put(z, self._held(to))
        self.forward(row, self.last_axis)

    def _sent(self, row: Any, number: Any, to: Any) -> None:
        with self.loop(whole(0), whole(self.grid[-1])) as (i,):
            z = self.get(self.along(row, self.last_axis, i))
            there = self.place(to, self.b.mul(self._pixel(number, i), whole(self.parts)))
            for k, values in enumerate(z[:1] if self.real else self.paired(z)):
                self.store(values, self.place(there, k * self.lanes), 4)

    # an iteration

    def _iteration(self, last: Any, estimate: Any) -> None:
        b, middle = self.b, range(1, self.last_axis)
        for place in (self.error, self.two, self.four):
            self.store(ir.Constant(self.wide, [0.0] * self.lanes), place, 8)
        for axis in middle:
            self.lines(self.wave, axis, lambda line, _, axis=axis: self.forward(line, axis))
        self.lines(self.wave, 0, self._imposed)
        for axis in middle:
            self.lines(self.wave, axis, lambda line, _, axis=axis: self.inverse(line, axis))

        def back(row: Any, number: Any) -> None:
            self.inverse(row, self.last_axis)
            with b.if_then(last):
                self._sent(row, number, estimate)

        def first(row: Any, number: Any) -> None:
            back(row, number)
            self._moments(row, number)

        def at_once(row: Any, number: Any) -> None:
            back(row, number)
            self._updated(row, number, None)

        with b.if_else(self.capped) as (yes, no):
            with yes:
                self._rows(first)
                two, four = self._total(1), self._total(2)
                two = b.select(b.fcmp_ordered("<", two, f8(1e-30)), f8(1e-30), two)
                level = self.mul(self.splat(b.fptrunc(b.fdiv(four, two), f4)), self.number(1 + 1e-5))
                self._rows(lambda row, number: self._updated(row, number, level))
            with no:
                self._rows(at_once)

    def _sum(self, value: Any, place: Any) -> None:
        self.store(self.b.fadd(self.load(place, self.wide, 8), self.b.fpext(value, self.wide)), place, 8)

    def _total(self, k: int) -> Any:
        """The k-th sum over all threads and lanes."""
        with self.loop(whole(0), self.threads, f8(0.0)) as loop:
            lanes = self.load(self.place(self.sums, self.b.mul(loop[0], whole(_SUMS)), self.lanes * k, kind=f8), self.wide, 8)
            loop[1] = reduce(self.b.fadd, (self.b.extract_element(lanes, i32(j)) for j in range(self.lanes)), loop[1])
        return loop[1]

    def _imposed(self, line: Any, number: Any) -> None:
        """Forwards along the first axis, the data, and back (plain.modulus)."""
        b, n = self.b, self.grid[0]
        target = self.place(self.target, b.mul(number, whole(n * self.lanes)))
        zero, share = self.number(0), self.number(1 / math.prod(self.shape))

        def impose(factor: Callable[[Any, Any], Any]) -> None:
            with self.loop(whole(0), whole(n), zero) as loop:
                here = self.along(line, 0, loop[0])
                z, a = self.get(here), self.load(self.place(target, b.mul(loop[0], whole(self.lanes))), self.vector, 4)
                f = self.sqrt(self.add(self.mul(self.square(z), share), self.number(1e-30)))
                free = self.less(a, zero)
                missing = b.select(free, zero, self.sub(f, a))
                loop[1] = self.add(loop[1], self.mul(missing, missing))
                self.put(self.scaled(z, self.mul(b.select(free, self.hole, factor(f, a)), share)), here)
            self._sum(loop[1], self.error)

        def soft(f: Any, a: Any) -> Any:
            one, h = self.add(self.rho, self.number(1)), self.mul(self.rho, f)
            root = self.sqrt(self.add(self.mul(h, h), self.mul(self.mul(self.number(4), one), self.mul(a, a))))
            return self.div(self.add(h, root), self.mul(f, self.mul(self.number(2), one)))

        self.forward(line, 0)
        with b.if_else(self.soft) as (yes, no):
            with yes:
                impose(soft)
            with no:
                impose(lambda f, a: self.div(a, f))
        self.inverse(line, 0)

    def _reflected(self, x: Complex, y: Complex) -> Complex:
        return self.plus(self.scaled(x, self.u), self.scaled(y, self.v))

    def _moments(self, row: Any, number: Any) -> None:
        b, zero = self.b, self.number(0)
        with self.loop(whole(0), whole(self.grid[-1]), zero, zero) as loop:
            w = self.along(row, self.last_axis, loop[0])
            z = self._reflected(self.get(self._held(w)), self.get(w))
            f = self.mul(z[0], z[0]) if self.real else self.square(z)
            left_out = b.and_(self._all(self.positive), self.less(z[0], zero))
            f = b.select(b.and_(self._inside(number, loop[0]), b.not_(left_out)), f, zero)
            loop[1:] = [self.add(loop[1], f), self.add(loop[2], self.mul(f, f))]
        self._sum(loop[1], self.two)
        self._sum(loop[2], self.four)

    def _all(self, flag: Any) -> Any:
        """A flag for every lane."""
        kind = ir.VectorType(i1, self.lanes)
        return self.b.select(flag, ir.Constant(kind, [1] * self.lanes), ir.Constant(kind, [0] * self.lanes))

    def _updated(self, row: Any, number: Any, level: Any) -> None:
        """A row of x' (plain.update, plain.fienup) in the place of x, and on its way forwards."""
        rule = self._real if self.real else self._within if level is None else self._under
        with self.loop(whole(0), whole(self.grid[-1])) as (i,):
            w = self.along(row, self.last_axis, i)
            new = rule(self.get(self._held(w)), self.get(w), self._inside(number, i), level)
            self.put(new, w)
            self.put(new, self._held(w))
        self.forward(row, self.last_axis)

    def _within(self, x: Complex, y: Complex, inside: Any, _: Any) -> Complex:
        p, q = self.add(self.a, self.mul(self.s, self.u)), self.add(self.c, self.mul(self.s, self.v))
        return self.plus(self.scaled(x, self.b.select(inside, p, self.a)), self.scaled(y, self.b.select(inside, q, self.c)))

    def _under(self, x: Complex, y: Complex, inside: Any, level: Any) -> Complex:
        b, z = self.b, self._reflected(x, y)
        f = self.square(z)
        g = self.sqrt(self.div(level, self.add(f, self.number(1e-30))))
        g = b.select(self.less(level, f), g, self.number(1))
        g = b.select(inside, self.mul(self.s, g), self.number(0))
        return self.plus(self.scaled(z, g), self.plus(self.scaled(x, self.a), self.scaled(y, self.c)))

    def _real(self, x: Complex, y: Complex, inside: Any, level: Any) -> Complex:
        b, zero = self.b, self.number(0)
        x_, y_ = x[0], y[0]
        high = self.number(math.inf) if level is None else self.sqrt(level)
        low = b.select(self.positive, zero, self.negative(high))
        z = self.add(self.mul(self.u, x_), self.mul(self.v, y_))
        z = b.select(self.less(z, low), low, z)
        z = b.select(self.less(high, z), high, z)
        z = self.mul(b.select(inside, self.s, zero), z)
        new = self.add(z, self.add(self.mul(self.a, x_), self.mul(self.c, y_)))
        kept = b.or_(b.and_(inside, b.not_(self.less(y_, zero))), b.fcmp_ordered("==", y_, zero))
        fed_back = b.select(kept, y_, self.sub(x_, self.mul(self.a, y_)))
        return b.select(self._all(self.fienup), fed_back, new), zero


def takes(x: Tensor) -> bool:
    """True where `run` can do it: a grid of small factors whose last axis is a multiple of four."""
    return transform.lanes(x.shape[1:]) is not None and usable()


def arranged(target: Tensor) -> Tensor:
    """The target in the order in which the transforms leave the frequencies."""
    import torch

    return torch.from_numpy(transform.arranged(target.numpy()))


@lru_cache(maxsize=16)
def _code(grid: tuple[int, ...], real: bool) -> tuple[Code, int]:
    written = Iterations(grid, real)
    return Code(written.module), written.room()


@lru_cache
def usable() -> bool:
    """True where the machine code agrees with torch on a small example."""
    import torch

    from untwin.engine import Coefficients, Rule, plain

    x = torch.randn(2, 6, 24, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    target, support, row = x[0].abs() + 0.5, x.real > -0.5, Coefficients(a=1, c=-0.9, s=1, u=-1, v=1.9)
    w = torch.fft.fft2(x, norm="ortho")
    error = plain.modulus(w, target, 0.0, 1.0, 0)
    y = torch.fft.ifft2(w, norm="ortho")
    try:
        found = run(x, support, arranged(target), row, Rule(), 0.0, 1.0, 1)
    except (AttributeError, OSError, RuntimeError, TypeError):  # an llvmlite that this was not written for
        return False
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(found, (plain.update(x, y, support, row, Rule()), y, error)))


def run(
    x: Tensor,
    support: Tensor,
    target: Tensor,
    row: Coefficients | Fienup,
    rule: Rule,
    rho: float,
    hole: float | Tensor,
    steps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """x' after `steps` iterations, y = P_M x of the last of them, and the error that its modulus projection met, (starts,) float64.

    x: (starts, *grid). support: (starts, *grid) bool, contiguous in the grid. target: `arranged`. The rest as for plain.modulus and
    plain.update.
    """
    import torch

    from untwin.engine import Coefficients

    starts, pixels = len(x), x[0].numel()
    code, room = _code(tuple(x.shape[1:]), not x.is_complex())
    after, y = (memory.empty(tuple(x.shape), x.dtype) for _ in range(2))
    threads = min(torch.get_num_threads(), *x.shape[1:-1], x.shape[-1] // 8) if emit.MANY and pixels > _WORTH else 1
    work, error = memory.empty((room // 4 + 2 * _SUMS * threads,), torch.float32), torch.empty(starts, dtype=torch.float64)
    general = row if isinstance(row, Coefficients) else Coefficients(row.beta, 0, 0, 0, 0)
    numbers = torch.tensor([general.a, general.c, general.s, general.u, general.v, rho, 1.0]).repeat(starts, 1)
    numbers[:, 6] = hole.reshape(-1) if isinstance(hole, torch.Tensor) else hole
    flags = CAPPED * rule.capped + SOFT * (rho > 0) + POSITIVE * rule.positive + FIENUP * (row is not general)
    moving = [(t.data_ptr(), t.element_size() * pixels) for t in (x, after, y)]  # address of the first start, bytes to the next
    x_, after_, y_, support_, numbers_, error_ = (
        range(first, first + step * starts, step) if step else [first] * starts
        for first, step in (*moving, (support.data_ptr(), support.stride(0)), (numbers.data_ptr(), 28), (error.data_ptr(), 8))
    )
    for i in range(starts):
        code(threads, steps, x_[i], support_[i], target.data_ptr(), numbers_[i], flags, work.data_ptr(), after_[i], y_[i], error_[i])
    return after, y, error
