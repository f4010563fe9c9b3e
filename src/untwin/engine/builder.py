"""Machine code for vector registers, written with llvmlite.

A Builder writes one C function of one pointer. Its numbers are vectors of eight (or four, or two) lanes; a complex number is a pair of
them. Words are those of the LLVM Language Reference: broadcast, interleave, gep (getelementptr), splat, phi.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from llvmlite import binding, ir

from untwin.engine.library import library

f32, f64, i1, i8, i32, i64 = ir.FloatType(), ir.DoubleType(), ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
Complex = tuple[Any, Any]
T = TypeVar("T")
_OPENMP_FUNCTIONS = ("omp_get_num_threads", "omp_get_thread_num", "GOMP_barrier")
_OPENMP = library("GOMP_parallel", *_OPENMP_FUNCTIONS)  # torch's own pool: two would spin against each other
THREADED = _OPENMP is not None  # several threads are possible
_FAST = ("contract", "nsz", "arcp")  # NaN and infinity stay what they are


def const(n: int) -> Any:
    """An i64 constant."""
    return ir.Constant(i64, n)


class Builder:
    """The function so far and llvmlite's IRBuilder at its end (`b`). All threads run it."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.vector, self.double_vector, self.byte_vector = (ir.VectorType(kind, lanes) for kind in (f32, f64, i8))
        self.module = ir.Module()
        self.function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [ir.PointerType(i64)]), "run")
        self.b: Any = ir.IRBuilder(self.function.append_basic_block())
        self.threads, self.thread = const(1), const(0)
        if THREADED:
            queries = (ir.Function(self.module, ir.FunctionType(i32, []), name) for name in ("omp_get_num_threads", "omp_get_thread_num"))
            self.threads, self.thread = (self.b.zext(self.b.call(function, []), i64) for function in queries)
            self._barrier = ir.Function(self.module, ir.FunctionType(ir.VoidType(), []), "GOMP_barrier")

    def argument(self, k: int, kind: Any = None) -> Any:
        """The k-th argument of the function: an i64, or a pointer to a `kind`."""
        value = self.b.load(self.gep(self.function.args[0], k, kind=i64), typ=i64)
        return value if kind is None else self.b.inttoptr(value, ir.PointerType(kind))

    # threads

    def thread_range(self, n: int) -> tuple[Any, Any]:
        """This thread's share of range(n): start and end."""
        first, end = (self.b.sdiv(self.b.mul(const(n), i), self.threads) for i in (self.thread, self.b.add(self.thread, const(1))))
        return first, end

    def barrier(self) -> None:
        """Wait for all threads."""
        if THREADED:
            with self.b.if_then(self.b.icmp_signed(">", self.threads, const(1))):
                self.b.call(self._barrier, [])

    # numbers

    def splat(self, value: float) -> Any:
        """A constant in all lanes."""
        return ir.Constant(self.vector, [float(np.float32(value))] * self.lanes)

    def broadcast(self, scalar: Any) -> Any:
        """A scalar in all lanes."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first_lane = self.b.insert_element(undefined, scalar, ir.Constant(i32, 0))
        return self.b.shuffle_vector(first_lane, undefined, ir.Constant(ir.VectorType(i32, self.lanes), [0] * self.lanes))

    def add(self, x: Any, y: Any) -> Any:
        return self.b.fadd(x, y, flags=_FAST)

    def sub(self, x: Any, y: Any) -> Any:
        return self.b.fsub(x, y, flags=_FAST)

    def mul(self, x: Any, y: Any) -> Any:
        return self.b.fmul(x, y, flags=_FAST)

    def div(self, x: Any, y: Any) -> Any:
        return self.b.fdiv(x, y, flags=_FAST)

    def neg(self, x: Any) -> Any:
        return self.b.fneg(x, flags=_FAST)

    def less(self, x: Any, y: Any) -> Any:
        return self.b.fcmp_ordered("<", x, y)

    def sqrt(self, x: Any) -> Any:
        name = f"llvm.sqrt.v{self.lanes}f32"
        intrinsic = self.module.globals.get(name) or ir.Function(self.module, ir.FunctionType(self.vector, [self.vector]), name)
        return self.b.call(intrinsic, [x])

    def abs2(self, z: Complex) -> Any:
        return self.add(self.mul(z[0], z[0]), self.mul(z[1], z[1]))

    def cadd(self, x: Complex, y: Complex) -> Complex:
        return self.add(x[0], y[0]), self.add(x[1], y[1])

    def csub(self, x: Complex, y: Complex) -> Complex:
        return self.sub(x[0], y[0]), self.sub(x[1], y[1])

    def cmul(self, z: Complex, re: Any, im: Any) -> Complex:
        return self.sub(self.mul(z[0], re), self.mul(z[1], im)), self.add(self.mul(z[0], im), self.mul(z[1], re))

    def scale(self, z: Complex, factor: Any) -> Complex:
        return self.mul(z[0], factor), self.mul(z[1], factor)

    def twiddle(self, z: Complex, factor: complex) -> Complex:
        """z times a constant of modulus 1."""
        re, im = round(factor.real, 15), round(factor.imag, 15)
        if (re, im) == (1, 0):
            return z
        if re == 0:
            return (self.neg(z[1]), z[0]) if im > 0 else (z[1], self.neg(z[0]))
        return self.cmul(z, self.splat(re), self.splat(im))

    def deinterleave(self, first: Any, second: Any) -> Complex:
        """re, im, re, im, … in two vectors -> (re, re, …), (im, im, …)."""
        masks = [ir.Constant(ir.VectorType(i32, self.lanes), [2 * k + part for k in range(self.lanes)]) for part in (0, 1)]
        return self.b.shuffle_vector(first, second, masks[0]), self.b.shuffle_vector(first, second, masks[1])

    def interleave(self, z: Complex) -> Complex:
        """The inverse of `deinterleave`."""
        half, kind = self.lanes // 2, ir.VectorType(i32, self.lanes)
        masks = [ir.Constant(kind, [at + k + part * self.lanes for k in range(half) for part in (0, 1)]) for at in (0, half)]
        return self.b.shuffle_vector(*z, masks[0]), self.b.shuffle_vector(*z, masks[1])

    # memory: pointers are to float unless `kind` says otherwise, indices count in it

    def gep(self, base: Any, *indices: Any, kind: Any = f32) -> Any:
        """base + indices, one after another."""
        for index in indices:
            base = self.b.gep(base, [index if isinstance(index, ir.Value) else const(index)], inbounds=True, source_etype=kind)
        return base

    def load(self, base: Any, kind: Any, align: int) -> Any:
        return self.b.load(self.b.bitcast(base, ir.PointerType(kind)), align=align, typ=kind)

    def store(self, value: Any, base: Any, align: int) -> None:
        self.b.store(value, self.b.bitcast(base, ir.PointerType(value.type)), align=align)

    def load_complex(self, base: Any) -> Complex:
        re, im = (self.load(self.gep(base, part), self.vector, 4 * self.lanes) for part in (0, self.lanes))
        return re, im

    def store_complex(self, z: Complex, base: Any) -> None:
        for part, value in zip((0, self.lanes), z):
            self.store(value, self.gep(base, part), 4 * self.lanes)

    def load_broadcast(self, base: Any) -> Any:
        """One float from memory in all lanes."""
        return self.broadcast(self.load(base, f32, 4))

    @contextmanager
    def loop(self, start: Any, end: Any, *carried: Any) -> Iterator[list[Any]]:
        """for i in range(start, end), once at least. Yields the phi nodes [i, *carried]; what the list holds at the end of the body goes
        to the next iteration, and after the block it holds the values of the last."""
        b = self.b
        before, body, after = b.block, self.function.append_basic_block(), self.function.append_basic_block()
        b.branch(body)
        b.position_at_end(body)
        phis = [b.phi(v.type) for v in (start, *carried)]
        for phi, first in zip(phis, (start, *carried)):
            phi.add_incoming(first, before)
        values: list[Any] = list(phis)
        yield values
        following = b.add(phis[0], const(1))
        for phi, value in zip(phis, (following, *values[1:])):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", following, end), body, after)
        b.position_at_end(after)

    @contextmanager
    def repeat(self, *carried: Any) -> Iterator[list[Any]]:
        """Do it, and again as long as the last entry of the list, an i1, says so. Yields the phi nodes [*carried]; at the end of the body
        the list holds what goes to the next round and, appended to it, whether there is one."""
        b = self.b
        before, body, after = b.block, self.function.append_basic_block(), self.function.append_basic_block()
        b.branch(body)
        b.position_at_end(body)
        phis = [b.phi(v.type) for v in carried]
        for phi, first in zip(phis, carried):
            phi.add_incoming(first, before)
        values: list[Any] = list(phis)
        yield values
        for phi, value in zip(phis, values):
            phi.add_incoming(value, b.block)
        b.cbranch(values[-1], body, after)
        b.position_at_end(after)


def shared_cache(size: int) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """functools.lru_cache, in which threads that ask at once wait for one that compiles."""

    def decorator(function: Callable[..., T]) -> Callable[..., T]:
        lock, cached = Lock(), lru_cache(size)(function)

        @wraps(function)
        def call(*arguments: Any) -> T:
            with lock:
                return cached(*arguments)

        return call

    return decorator


class CompiledFunction:
    """A module as machine code (MCJIT), for as long as this object lives: called with the number of threads and with i64 arguments,
    integers or addresses, of which the function gets the array."""

    def __init__(self, module: ir.Module) -> None:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        features = binding.get_host_cpu_features().flatten()
        machine = binding.Target.from_default_triple().create_target_machine(binding.get_host_cpu_name(), features, opt=3)
        parsed = binding.parse_assembly(str(module))
        parsed.verify()
        options = binding.create_pipeline_tuning_options(speed_level=2)
        options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
        builder = binding.create_pass_builder(machine, options)
        builder.getModulePassManager().run(parsed, builder)
        for name in _OPENMP_FUNCTIONS if _OPENMP else ():
            binding.add_symbol(name, ctypes.cast(getattr(_OPENMP, name), ctypes.c_void_p).value)
        self._engine = binding.create_mcjit_compiler(parsed, machine)
        self._engine.finalize_object()
        self._address = self._engine.get_function_address("run")
        self._call_serial = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._address)

    def __call__(self, threads: int, *arguments: int) -> None:
        block = array("q", arguments)
        address = block.buffer_info()[0]
        if threads == 1:
            self._call_serial(address)
        else:
            assert _OPENMP
            _OPENMP.GOMP_parallel(ctypes.c_void_p(self._address), ctypes.c_void_p(address), ctypes.c_uint(threads), ctypes.c_uint(0))
