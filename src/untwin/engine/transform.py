"""Fourier transforms of one array in vector registers (engine.builder), of mixed radix.

Along the last axis lane l of element j is the pixel L j + l, so that the other axes are transformed lane by lane, and the last one in two
steps: within the lanes, then across them. Forwards with decimation in frequency, backwards in time: in between, frequencies stand in
digit-reversed order, and nothing is ever put back into its place (Cooley and Tukey, Math. Comp. 19, 1965; Gentleman and Sande, AFIPS
29, 1966).
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from llvmlite import ir

from untwin.engine.builder import Builder, Complex, const, f32, i32

LANES = (8, 4, 2)
_RADICES = (8, 4, 2, 3, 5, 7)


def radices(n: int) -> tuple[int, ...] | None:
    """The factors of n, large ones first; None where a prime above 7 is among them."""
    factors = []
    for r in _RADICES:
        while n % r == 0:
            factors.append(r)
            n //= r
    return tuple(factors) if n == 1 else None


def lanes(grid: Sequence[int]) -> int | None:
    """Into how many lanes the last axis is cut; None where this grid cannot be transformed here."""
    fits = len(grid) in (2, 3) and min(grid) > 1 and all(map(radices, grid))
    return next((k for k in LANES if grid[-1] % k == 0), None) if fits else None


def order(n: int) -> np.ndarray:
    """(n,) int: which frequency stands where after a forward transform."""

    def reversed_digits(factors: Sequence[int]) -> np.ndarray:
        if not factors:
            return np.zeros(1, int)
        rest = reversed_digits(factors[1:])
        return np.concatenate([k + factors[0] * rest for k in range(factors[0])])

    return reversed_digits(radices(n) or ())


def arranged(spectrum: np.ndarray) -> np.ndarray:
    """An array over frequencies, in the order in which the transform leaves them: (*lines, first axis, lane)."""
    k = lanes(spectrum.shape)
    assert k
    *others, n = spectrum.shape
    inner = last_order(n, k)
    placed = spectrum[np.ix_(*(order(m) for m in others), inner)].reshape(*others, n // k, k)
    return np.ascontiguousarray(np.moveaxis(placed, 0, -2))


def last_order(n: int, k: int) -> np.ndarray:
    """(n,) int: which frequency of the last axis stands where, in elements of k lanes."""
    return (order(n // k)[:, None] + n // k * _reversed(k)).reshape(-1)


def _reversed(k: int) -> np.ndarray:
    """The frequency of each lane: bits reversed, for transforms across lanes go by halves."""
    return np.array([int(f"{i:0{k.bit_length() - 1}b}"[::-1], 2) for i in range(k)])


class Layout(Builder):
    """How an array of this shape lies in memory, and its transforms. An element is a complex number of every lane: the real parts, then
    the imaginary parts; grid: elements along each axis."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(lanes(shape) or 0)
        self.shape, self.grid = shape, (*shape[:-1], shape[-1] // self.lanes)
        self.last_axis = len(shape) - 1
        self.pitch = [2 * self.lanes]  # floats from one element to the next along each axis
        for n in reversed(self.grid[1:]):  # a spare element in each row keeps columns out of one another's way in the cache
            self.pitch.insert(0, self.pitch[0] * n + 2 * self.lanes)
        self.size = self.grid[0] * self.pitch[0]  # floats
        self._tables: dict[str, Any] = {}

    # addresses

    def along(self, base: Any, axis: int, i: Any) -> Any:
        return self.gep(base, self.b.mul(i, const(self.pitch[axis])))

    def lines(self, base: Any, axis: int, each: Callable[[Any, Any], None]) -> None:
        """each(start, number) for all lines of elements along an axis, which the threads share; number: of the line, counted over the
        other axes in order. Ends with a barrier."""
        first, *rest = (a for a in range(len(self.grid)) if a != axis)
        with self.loop(*self.thread_range(self.grid[first])) as (i,):
            start = self.along(base, first, i)
            if not rest:
                each(start, i)
            for other in rest:
                with self.loop(const(0), const(self.grid[other])) as (j,):
                    each(self.along(start, other, j), self.b.add(self.b.mul(i, const(self.grid[other])), j))
        self.barrier()

    # transforms, in place and not scaled

    def forward(self, base: Any, axis: int) -> None:
        """Along one line, into digit-reversed order."""
        self._passes(base, axis, inverse=False)
        if axis == self.last_axis:
            with self.loop(const(0), const(self.grid[axis])) as (i,):
                address = self.along(base, axis, i)
                z = self.cmul(self.load_complex(address), *self.load_complex(self._lane_twiddles(i)))
                for half in self._halves():
                    z = self._twiddle_across(self._butterfly_across(z, half), half, -1)
                self.store_complex(z, address)

    def inverse(self, base: Any, axis: int) -> None:
        """And back."""
        if axis == self.last_axis:
            with self.loop(const(0), const(self.grid[axis])) as (i,):
                address = self.along(base, axis, i)
                z, (re, im) = self.load_complex(address), self.load_complex(self._lane_twiddles(i))
                for half in reversed(self._halves()):
                    z = self._butterfly_across(self._twiddle_across(z, half, 1), half)
                self.store_complex(self.cmul(z, re, self.neg(im)), address)
        self._passes(base, axis, inverse=True)

    def _halves(self) -> list[int]:
        return [self.lanes >> k for k in range(1, self.lanes.bit_length())]

    def _butterfly_across(self, z: Complex, half: int) -> Complex:
        """A butterfly between lanes: sums in the lower lanes of each pair of halves, differences in the upper ones."""
        swap = ir.Constant(ir.VectorType(i32, self.lanes), [i ^ half for i in range(self.lanes)])
        sign = ir.Constant(self.vector, [-1.0 if i & half else 1.0 for i in range(self.lanes)])
        re, im = (self.add(self.mul(v, sign), self.b.shuffle_vector(v, v, swap)) for v in z)
        return re, im

    def _twiddle_across(self, z: Complex, half: int, sign: int) -> Complex:
        if half == 1:
            return z
        twiddles = [cmath.exp(sign * 1j * math.pi * (i % half) / half) if i & half else 1 for i in range(self.lanes)]
        return self.cmul(
            z, *(ir.Constant(self.vector, [round(part(t), 9) for t in twiddles]) for part in (lambda t: t.real, lambda t: t.imag))
        )

    def _lane_twiddles(self, i: Any) -> Any:
        """Address of exp(−2πi l q / n), for the frequency q of an element and the lanes l."""
        n = self.shape[-1]
        angles = -2 * np.pi / n * np.outer(order(self.grid[-1]), np.arange(self.lanes))
        table = self._table("lane_twiddles", np.stack([np.cos(angles), np.sin(angles)], 1))
        return self.gep(table, self.b.mul(i, const(2 * self.lanes)))

    def _table(self, name: str, values: np.ndarray) -> Any:
        if name not in self._tables:
            flat = [float(v) for v in values.astype(np.float32).reshape(-1)]
            kind = ir.ArrayType(f32, len(flat))
            table: Any = ir.GlobalVariable(self.module, kind, name)
            table.initializer, table.global_constant, table.align = ir.Constant(kind, flat), True, 64
            self._tables[name] = table
        return self.b.bitcast(self._tables[name], ir.PointerType(f32))

    def _passes(self, base: Any, axis: int, inverse: bool) -> None:
        step, sizes = self.pitch[axis], [self.grid[axis]]
        for r in radices(self.grid[axis]) or ():
            sizes.append(sizes[-1] // r)
        passes = list(pairwise(sizes))
        for size, rest in reversed(passes) if inverse else passes:
            r = size // rest
            with self.loop(const(0), const(self.grid[axis] // size)) as (block,), self.loop(const(0), const(rest)) as (j,):
                first = self.along(self.gep(base, self.b.mul(block, const(size * step))), axis, j)
                addresses = [self.gep(first, k * rest * step) for k in range(r)]
                z = [self.load_complex(p) for p in addresses]
                twiddles = self._twiddles(size, r, j) if rest > 1 else []
                if inverse:
                    z = self._apply_twiddles(z, [(re, self.neg(im)) for re, im in twiddles])
                z = self._butterfly(z, 1 if inverse else -1)
                if not inverse:
                    z = self._apply_twiddles(z, twiddles)
                for value, p in zip(z, addresses):
                    self.store_complex(value, p)

    def _apply_twiddles(self, z: list[Complex], twiddles: list[Complex]) -> list[Complex]:
        return [z[0], *(self.cmul(v, *t) for v, t in zip(z[1:], twiddles))] if twiddles else z

    def _twiddles(self, size: int, r: int, j: Any) -> list[Complex]:
        """exp(−2πi jk / size) for 0 < k < r."""
        angles = -2 * np.pi / size * np.outer(np.arange(size // r), np.arange(1, r))
        table = self._table(f"twiddles_{size}_{r}", np.stack([np.cos(angles), np.sin(angles)], 2))
        row = self.gep(table, self.b.mul(j, const(2 * (r - 1))))
        return [(self.load_broadcast(self.gep(row, 2 * k)), self.load_broadcast(self.gep(row, 2 * k + 1))) for k in range(r - 1)]

    def _butterfly(self, z: list[Complex], sign: int) -> list[Complex]:
        """Σ z_k exp(sign 2πi jk / r), in order of j."""
        r = len(z)
        if r == 1:
            return z
        if r % 2 == 0:
            even, odd = self._butterfly(z[::2], sign), self._butterfly(z[1::2], sign)
            odd = [self.twiddle(o, cmath.exp(sign * 2j * math.pi * k / r)) for k, o in enumerate(odd)]
            return [self.cadd(e, o) for e, o in zip(even, odd)] + [self.csub(e, o) for e, o in zip(even, odd)]
        half = range(1, r // 2 + 1)
        sums, differences = [self.cadd(z[k], z[-k]) for k in half], [self.csub(z[k], z[-k]) for k in half]
        out = [z[0]] * r
        for s in sums:
            out[0] = self.cadd(out[0], s)
        for j in half:
            angles = [2 * math.pi * j * k / r for k in half]
            real, (first, *rest) = z[0], [self.scale(d, self.splat(sign * math.sin(t))) for d, t in zip(differences, angles)]
            for s, t in zip(sums, angles):
                real = self.cadd(real, self.scale(s, self.splat(math.cos(t))))
            for other in rest:
                first = self.cadd(first, other)
            across = self.twiddle(first, 1j)
            out[j], out[r - j] = self.cadd(real, across), self.csub(real, across)
        return out
