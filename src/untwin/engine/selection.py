"""The k largest of many values in machine code: not sorted, but counted above a threshold that is moved until k are.

A count is one sweep over the values. From one iteration to the next the threshold hardly moves, so that its last place, and how many values
lie in a unit there, are a good beginning: a step of Newton's, then interpolation between the nearest two that have k on either side.
Bisection of the bits of the threshold, which are in order as nonnegative floats are, ends every search.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from llvmlite import ir

from untwin.engine.builder import const, f32, f64, i32, i64
from untwin.engine.transform import Layout

_UNROLLED = 32  # vectors of a row, up to which its count is written out
_PATIENCE = 6  # counts after which every second threshold halves the bits between


class Search:
    """values: address of the first of them, which lie as elements of the layout do. memory: of two float64 that hold the last threshold and
    the density of values there; it is cleared here, and the search leaves them there. k: i64."""

    def __init__(self, layout: Layout, values: Any, memory: Any, k: Any) -> None:
        self.layout, self.values, self.k = layout, values, k
        self.last, self.density = (layout.gep(memory, i, kind=f64) for i in range(2))
        for address in (self.last, self.density):
            layout.b.store(f64(0.0), address)

    def threshold(self) -> Any:
        """f32, 0 or more: as many as k of the values lie above it; fewer where fewer are above 0, or where equal ones would be more, of
        which torch keeps the first."""
        layout, b, k = self.layout, self.layout.b, self.k
        infinity, nothing = f32(float("inf")), f32(-1.0)
        last = b.fptrunc(b.load(self.last, typ=f64), f32)
        begin = [last, nothing, const(0), infinity, const(0), b.load(self.density, typ=f64), nothing, const(0), const(0)]
        with layout.repeat(*begin) as loop:
            t, low, above, high, below, density, before, count_before, i = loop
            count = self._count(t)
            more = b.icmp_signed(">", count, k)
            low, above = b.select(more, t, low), b.select(more, count, above)
            high, below = b.select(more, high, t), b.select(more, below, count)
            density = self._density(t, count, before, count_before, density)
            bottom = self._bits(b.select(b.fcmp_ordered("<", low, f32(0.0)), f32(0.0), low))
            between = b.sub(self._bits(high), bottom)
            adjacent = b.and_(b.fcmp_ordered(">=", low, f32(0.0)), b.icmp_signed("<=", between, i32(1)))
            few = b.and_(b.fcmp_ordered("==", t, f32(0.0)), b.icmp_signed("<=", count, k))
            right = b.or_(b.icmp_signed("==", count, k), few)
            middle = b.bitcast(b.add(bottom, b.ashr(between, i32(1))), f32)
            following = self._guess(t, count, (low, above, high, below), density, middle, i)
            following = b.select(right, t, b.select(adjacent, high, following))
            loop[:] = [following, low, above, high, below, density, t, count, b.add(i, const(1)), b.not_(b.or_(right, adjacent))]
        b.store(b.fpext(loop[0], f64), self.last)
        b.store(loop[5], self.density)
        return loop[0]

    def _guess(self, t: Any, count: Any, bracket: tuple[Any, Any, Any, Any], density: Any, middle: Any, i: Any) -> Any:
        """The next threshold, inside the bracket (low, values above it, high, values above it)."""
        b, (low, above, high, below) = self.layout.b, bracket
        wanted = b.fsub(b.sitofp(count, f64), b.sitofp(self.k, f64))
        newton = b.fptrunc(b.fadd(b.fpext(t, f64), b.fdiv(wanted, density)), f32)
        share = b.fdiv(b.sitofp(b.sub(above, self.k), f32), b.sitofp(b.sub(above, below), f32))
        between = b.fadd(low, b.fmul(b.fsub(high, low), share))
        known = b.and_(b.fcmp_ordered(">=", low, f32(0.0)), b.fcmp_ordered("<", high, f32(float("inf"))))
        near = b.icmp_signed("<", b.sub(above, below), b.ashr(self.k, const(1)))
        guess = b.select(b.and_(known, near), between, newton)
        inside = b.and_(b.fcmp_ordered(">", guess, low), b.fcmp_ordered("<", guess, high))
        inside = b.and_(inside, b.fcmp_ordered(">=", guess, f32(0.0)))
        odd = b.icmp_signed("==", b.and_(i, const(1)), const(1))
        tired = b.and_(b.icmp_signed(">", i, const(_PATIENCE)), odd)
        other = b.select(b.fcmp_ordered("<", low, f32(0.0)), f32(0.0), middle)
        return b.select(b.and_(inside, b.not_(tired)), guess, other)

    def _density(self, t: Any, count: Any, before: Any, count_before: Any, density: Any) -> Any:
        """Values in a unit of the threshold, between the last two, or as it was."""
        b = self.layout.b
        fewer = b.sitofp(b.sub(count_before, count), f64)
        new = b.fdiv(fewer, b.fsub(b.fpext(t, f64), b.fpext(before, f64)))
        sound = b.and_(b.fcmp_ordered(">=", before, f32(0.0)), b.fcmp_ordered(">", new, f64(0.0)))
        return b.select(sound, new, density)

    def _bits(self, x: Any) -> Any:
        return self.layout.b.bitcast(x, i32)

    def _count(self, t: Any) -> Any:
        """How many values lie above t."""
        layout, b = self.layout, self.layout.b
        rows, columns = layout.grid
        level, kind = layout.broadcast(t), ir.VectorType(i32, layout.lanes)

        def counted(total: Any, row: Any, i: Any) -> Any:
            z = layout.load(layout.along(row, 1, i), layout.vector, 4 * layout.lanes)
            return b.sub(total, b.sext(b.fcmp_ordered(">", z, level), kind))

        with layout.loop(const(0), const(rows), ir.Constant(kind, [0] * layout.lanes)) as loop:
            row = layout.along(self.values, 0, loop[0])
            if columns <= _UNROLLED:
                for i in range(columns):
                    loop[1] = counted(loop[1], row, const(i))
            else:
                with layout.loop(const(0), const(columns), loop[1]) as inner:
                    inner[1] = counted(inner[1], row, inner[0])
                loop[1] = inner[1]
        return b.sext(reduce(b.add, (b.extract_element(loop[1], i32(j)) for j in range(layout.lanes))), i64)
