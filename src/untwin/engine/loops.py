"""The passes as compiled loops over float32 arrays (numba): one sweep over memory each.

Each loop is a C function of one pointer, to a block of whole numbers: threads, starts, pixels, then addresses. A thread does its own
stretch of every start. One thread is a plain call; several are those of torch's own OpenMP pool, since two pools would spin against
each other. Complex arrays are read as pairs of floats. Divisions follow IEEE (nothing is raised), sums may be reordered, NaN stays NaN.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import binding
from numba import carray, cfunc, njit, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic

from untwin.engine.library import library

_OPENMP = library("GOMP_parallel", "omp_get_thread_num")
if _OPENMP:
    binding.add_symbol("untwin_thread", ctypes.cast(_OPENMP.omp_get_thread_num, ctypes.c_void_p).value)
else:  # never called: one thread only
    binding.add_symbol("untwin_thread", ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value)
_thread = types.ExternalFunction("untwin_thread", types.int32())

_FAST = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "arcp", "nsz"}}
_STRIPE = 4096  # pixels summed in single precision before they join a double
f4 = np.float32


def _pointer(kind: Any) -> Any:
    @intrinsic
    def cast(context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(address), generate

    return cast


_floats, _doubles, _flags = _pointer(types.float32), _pointer(types.float64), _pointer(types.uint8)


@njit(inline="always")
def _mine(block: Any) -> Any:
    """This thread, and its stretch of the pixels."""
    k, n = block[0], block[2]
    i = np.int64(0)
    if k > 1:
        i = np.int64(_thread())
    return i, i * n // k, (i + 1) * n // k


@njit(**_FAST)
def _modulus_hard(w: Any, target: Any, hole: Any, n: int) -> Any:
    e = f4(0)
    for i in range(n):
        r, m, a = w[2 * i], w[2 * i + 1], target[i]
        q = r * r + m * m + f4(1e-30)
        inverse = f4(1) / np.sqrt(q)
        free = a < f4(0)
        g = a * inverse
        d = q * inverse - a
        g = hole if free else g
        d = f4(0) if free else d
        e += d * d
        w[2 * i] = r * g
        w[2 * i + 1] = m * g
    return e


@njit(**_FAST)
def _modulus_soft(w: Any, target: Any, hole: Any, rho: Any, n: int) -> Any:
    e = f4(0)
    for i in range(n):
        r, m, a = w[2 * i], w[2 * i + 1], target[i]
        f = np.sqrt(r * r + m * m + f4(1e-30))
        free = a < f4(0)
        d = f - a
        d = f4(0) if free else d
        e += d * d
        p = (rho * f + np.sqrt(rho * rho * f * f + f4(4) * (f4(1) + rho) * a * a)) / (f4(2) * (f4(1) + rho))
        g = p / f
        g = hole if free else g
        w[2 * i] = r * g
        w[2 * i + 1] = m * g
    return e


@njit(**_FAST)
def _modulus(w: Any, target: Any, hole: Any, rho: Any, n: int) -> Any:
    e = 0.0
    for j in range(0, n, _STRIPE):
        m = min(_STRIPE, n - j)
        if rho == f4(0):
            e += _modulus_hard(w[2 * j :], target[j:], hole, m)
        else:
            e += _modulus_soft(w[2 * j :], target[j:], hole, rho, m)
    return e


def modulus(block: Any) -> None:
    """block: w (starts, n) complex, target (n), hole (starts) and [rho] float32, error (threads, starts) float64, width."""
    b = carray(block, (9,))
    i, low, high = _mine(b)
    starts, n = b[1], b[2]
    hole = carray(_floats(b[5]), (starts,))
    rho = carray(_floats(b[6]), (1,))[0]
    error = carray(_doubles(b[7]), (b[0] * starts,))
    for s in range(starts):
        if b[8] == 0:
            w = carray(_floats(b[3] + 8 * (s * n + low)), (2 * (high - low),))
            target = carray(_floats(b[4] + 4 * low), (high - low,))
            error[i * starts + s] = _modulus(w, target, hole[s], rho, high - low)
        else:
            wide, inner = b[8] // 2 + 1, (b[8] + 1) // 2 - 1  # of a row: all, and those that stand for their mirror images too
            e = 0.0
            for j in range(i * (n // wide) // b[0], (i + 1) * (n // wide) // b[0]):
                w = carray(_floats(b[3] + 8 * (s * n + j * wide)), (2 * wide,))
                target = carray(_floats(b[4] + 4 * (j * wide)), (wide,))
                e += _modulus(w, target, hole[s], rho, 1)
                e += 2 * _modulus(w[2:], target[1:], hole[s], rho, inner)
                if inner + 1 < wide:
                    e += _modulus(w[2 * inner + 2 :], target[inner + 1 :], hole[s], rho, 1)
            error[i * starts + s] = e


@njit(**_FAST)
def _moments_complex(x: Any, y: Any, support: Any, u: Any, v: Any, n: int) -> Any:
    two, four = 0.0, 0.0
    for j in range(0, n, _STRIPE):
        a, b = f4(0), f4(0)
        p, q, t = x[2 * j :], y[2 * j :], support[j:]
        for i in range(min(_STRIPE, n - j)):
            r, m = u * p[2 * i] + v * q[2 * i], u * p[2 * i + 1] + v * q[2 * i + 1]
            f = r * r + m * m if t[i] != 0 else f4(0)
            a += f
            b += f * f
        two += a
        four += b
    return two, four


@njit(**_FAST)
def _moments_real(x: Any, y: Any, support: Any, u: Any, v: Any, positive: bool, n: int) -> Any:
    two, four = 0.0, 0.0
    for j in range(0, n, _STRIPE):
        a, b = f4(0), f4(0)
        p, q, t = x[j:], y[j:], support[j:]
        for i in range(min(_STRIPE, n - j)):
            r = u * p[i] + v * q[i]
            r = f4(0) if (t[i] == 0 or (positive and r < f4(0))) else r
            f = r * r
            a += f
            b += f * f
        two += a
        four += b
    return two, four


def moments(block: Any) -> None:
    """block: x, y (starts, n), support (starts, n) bool, row = [a, c, s, u, v] float32, out (threads, starts, 2) float64,
    flags: 1 real, 2 positive; from one start's support to the next (0: all share one)."""
    b = carray(block, (10,))
    i, low, high = _mine(b)
    starts, n = b[1], b[2]
    row = carray(_floats(b[6]), (5,))
    out = carray(_doubles(b[7]), (b[0] * starts * 2,))
    real, positive = b[8] & 1 != 0, b[8] & 2 != 0
    wide = 4 if real else 8
    size = high - low if real else 2 * (high - low)
    for s in range(starts):
        x = carray(_floats(b[3] + wide * (s * n + low)), (size,))
        y = carray(_floats(b[4] + wide * (s * n + low)), (size,))
        support = carray(_flags(b[5] + s * b[9] + low), (high - low,))
        if real:
            two, four = _moments_real(x, y, support, row[3], row[4], positive, high - low)
        else:
            two, four = _moments_complex(x, y, support, row[3], row[4], high - low)
        out[2 * (i * starts + s)] = two
        out[2 * (i * starts + s) + 1] = four


@njit(**_FAST)
def _update_plain(x: Any, y: Any, support: Any, out: Any, p: Any, q: Any, a: Any, c: Any, n: int) -> None:
    for i in range(n):
        inside = support[i] != 0
        g = p if inside else a
        h = q if inside else c
        out[2 * i] = g * x[2 * i] + h * y[2 * i]
        out[2 * i + 1] = g * x[2 * i + 1] + h * y[2 * i + 1]


@njit(**_FAST)
def _update_estimate(y: Any, support: Any, out: Any, q: Any, c: Any, n: int) -> None:
    for i in range(n):
        h = q if support[i] != 0 else c
        out[2 * i] = h * y[2 * i]
        out[2 * i + 1] = h * y[2 * i + 1]


@njit(**_FAST)
def _update_capped(x: Any, y: Any, support: Any, out: Any, a: Any, c: Any, s: Any, u: Any, v: Any, level: Any, n: int) -> None:
    for i in range(n):
        xr, xm, yr, ym = x[2 * i], x[2 * i + 1], y[2 * i], y[2 * i + 1]
        r, m = u * xr + v * yr, u * xm + v * ym
        f = r * r + m * m
        g = np.sqrt(level / (f + f4(1e-30)))
        g = g if f > level else f4(1)
        g = s * g if support[i] != 0 else f4(0)
        out[2 * i] = g * r + a * xr + c * yr
        out[2 * i + 1] = g * m + a * xm + c * ym


@njit(**_FAST)
def _update_real(x: Any, y: Any, support: Any, out: Any, a: Any, c: Any, s: Any, u: Any, v: Any, low: Any, high: Any, n: int) -> None:
    for i in range(n):
        r = u * x[i] + v * y[i]
        r = low if r < low else r
        r = high if r > high else r
        g = s if support[i] != 0 else f4(0)
        out[i] = g * r + a * x[i] + c * y[i]


def update(block: Any) -> None:
    """block: x, y, support, row as for `moments`, level (starts) float32, out like x, flags and step as there, 4 capped."""
    b = carray(block, (11,))
    _, low, high = _mine(b)
    starts, n = b[1], b[2]
    row = carray(_floats(b[6]), (5,))
    a, c, s, u, v = row[0], row[1], row[2], row[3], row[4]
    level = carray(_floats(b[7]), (starts,))
    real, positive, capped = b[9] & 1 != 0, b[9] & 2 != 0, b[9] & 4 != 0
    wide = 4 if real else 8
    size = high - low if real else 2 * (high - low)
    for k in range(starts):
        x = carray(_floats(b[3] + wide * (k * n + low)), (size,))
        y = carray(_floats(b[4] + wide * (k * n + low)), (size,))
        support = carray(_flags(b[5] + k * b[10] + low), (high - low,))
        out = carray(_floats(b[8] + wide * (k * n + low)), (size,))
        if real:
            ceiling = np.sqrt(level[k]) if capped else f4(np.inf)
            floor = f4(0) if positive else -ceiling
            _update_real(x, y, support, out, a, c, s, u, v, floor, ceiling, high - low)
        elif capped:
            _update_capped(x, y, support, out, a, c, s, u, v, level[k], high - low)
        elif a == 0 and a + s * u == 0:
            _update_estimate(y, support, out, c + s * v, c, high - low)
        else:
            _update_plain(x, y, support, out, a + s * u, c + s * v, a, c, high - low)


@njit(**_FAST)
def _fienup_real(x: Any, y: Any, support: Any, out: Any, beta: Any, n: int) -> None:
    for i in range(n):
        kept = (support[i] != 0 and y[i] >= f4(0)) or y[i] == f4(0)
        out[i] = y[i] if kept else x[i] - beta * y[i]


def fienup(block: Any) -> None:
    """block: x, y (starts, n) float32, support, [beta], out, step of the supports."""
    b = carray(block, (9,))
    _, low, high = _mine(b)
    starts, n, m = b[1], b[2], high - low
    beta = carray(_floats(b[6]), (1,))[0]
    for k in range(starts):
        x = carray(_floats(b[3] + 4 * (k * n + low)), (m,))
        y = carray(_floats(b[4] + 4 * (k * n + low)), (m,))
        support = carray(_flags(b[5] + k * b[8] + low), (m,))
        out = carray(_floats(b[7] + 4 * (k * n + low)), (m,))
        _fienup_real(x, y, support, out, beta, m)


Loop = Callable[[int, Sequence[int]], None]


def _loop(function: Callable[[Any], None]) -> Loop:
    signature = types.void(types.CPointer(types.int64))
    try:
        compiled: Any = cfunc(signature, cache=True, **_FAST)(function)
    except RuntimeError:  # nowhere to keep the machine code: compiled anew in each process
        compiled = cfunc(signature, **_FAST)(function)
    alone = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compiled.address)

    def run(threads: int, block: Sequence[int]) -> None:
        numbers = array("q", (threads, *block))
        address = numbers.buffer_info()[0]
        if threads == 1:
            alone(address)
        else:
            assert _OPENMP
            _OPENMP.GOMP_parallel(ctypes.c_void_p(compiled.address), ctypes.c_void_p(address), ctypes.c_uint(threads), ctypes.c_uint(0))

    return run


MODULUS, MOMENTS, UPDATE, FIENUP = (_loop(f) for f in (modulus, moments, update, fienup))
MANY = bool(_OPENMP)  # several threads are possible
