"""Machine code for vector registers, written with llvmlite.

An Emitter writes one C function of one pointer. Its numbers are vectors of eight (or four) lanes; a complex number is a pair of them.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import binding, ir

from untwin.engine.library import library

f4, f8, i1, i8, i32, i64 = ir.FloatType(), ir.DoubleType(), ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
Complex = tuple[Any, Any]
_INSIDE = ("omp_get_num_threads", "omp_get_thread_num", "GOMP_barrier")
_OPENMP = library("GOMP_parallel", *_INSIDE)  # torch's own pool: two would spin against each other
MANY = _OPENMP is not None  # several threads are possible
_FAST = ("contract", "nsz", "arcp")  # NaN and infinity stay what they are


def whole(n: int) -> Any:
    """A whole number that is known now."""
    return ir.Constant(i64, n)


class Emitter:
    """The function so far, and where its next instruction goes (`b`). All threads run it."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.vector, self.wide, self.bytes = (ir.VectorType(kind, lanes) for kind in (f4, f8, i8))
        self.module = ir.Module()
        self.function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [ir.PointerType(i64)]), "run")
        self.b: Any = ir.IRBuilder(self.function.append_basic_block())
        self.threads, self.thread = whole(1), whole(0)
        if MANY:
            asked = (ir.Function(self.module, ir.FunctionType(i32, []), name) for name in ("omp_get_num_threads", "omp_get_thread_num"))
            self.threads, self.thread = (self.b.zext(self.b.call(function, []), i64) for function in asked)
            self._barrier = ir.Function(self.module, ir.FunctionType(ir.VoidType(), []), "GOMP_barrier")

    def given(self, k: int, kind: Any = None) -> Any:
        """The k-th of the numbers that the function is given, or the address that it is, of something."""
        number = self.b.load(self.place(self.function.args[0], k, kind=i64), typ=i64)
        return number if kind is None else self.b.inttoptr(number, ir.PointerType(kind))

    # threads

    def mine(self, n: int) -> tuple[Any, Any]:
        """This thread's share of range(n): the first, and one beyond the last."""
        first, end = (self.b.sdiv(self.b.mul(whole(n), i), self.threads) for i in (self.thread, self.b.add(self.thread, whole(1))))
        return first, end

    def wait(self) -> None:
        """For all threads."""
        if MANY:
            with self.b.if_then(self.b.icmp_signed(">", self.threads, whole(1))):
                self.b.call(self._barrier, [])

    # numbers

    def number(self, value: float) -> Any:
        return ir.Constant(self.vector, [float(np.float32(value))] * self.lanes)

    def splat(self, scalar: Any) -> Any:
        nothing = ir.Constant(self.vector, ir.Undefined)
        one = self.b.insert_element(nothing, scalar, ir.Constant(i32, 0))
        return self.b.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(i32, self.lanes), [0] * self.lanes))

    def add(self, x: Any, y: Any) -> Any:
        return self.b.fadd(x, y, flags=_FAST)

    def sub(self, x: Any, y: Any) -> Any:
        return self.b.fsub(x, y, flags=_FAST)

    def mul(self, x: Any, y: Any) -> Any:
        return self.b.fmul(x, y, flags=_FAST)

    def div(self, x: Any, y: Any) -> Any:
        return self.b.fdiv(x, y, flags=_FAST)

    def negative(self, x: Any) -> Any:
        return self.b.fneg(x, flags=_FAST)

    def less(self, x: Any, y: Any) -> Any:
        return self.b.fcmp_ordered("<", x, y)

    def sqrt(self, x: Any) -> Any:
        name = f"llvm.sqrt.v{self.lanes}f32"
        known = self.module.globals.get(name) or ir.Function(self.module, ir.FunctionType(self.vector, [self.vector]), name)
        return self.b.call(known, [x])

    def square(self, z: Complex) -> Any:
        return self.add(self.mul(z[0], z[0]), self.mul(z[1], z[1]))

    def plus(self, x: Complex, y: Complex) -> Complex:
        return self.add(x[0], y[0]), self.add(x[1], y[1])

    def minus(self, x: Complex, y: Complex) -> Complex:
        return self.sub(x[0], y[0]), self.sub(x[1], y[1])

    def times(self, z: Complex, re: Any, im: Any) -> Complex:
        return self.sub(self.mul(z[0], re), self.mul(z[1], im)), self.add(self.mul(z[0], im), self.mul(z[1], re))

    def scaled(self, z: Complex, factor: Any) -> Complex:
        return self.mul(z[0], factor), self.mul(z[1], factor)

    def turned(self, z: Complex, by: complex) -> Complex:
        """z times a number of modulus 1 that is known now."""
        re, im = round(by.real, 15), round(by.imag, 15)
        if (re, im) == (1, 0):
            return z
        if re == 0:
            return (self.negative(z[1]), z[0]) if im > 0 else (z[1], self.negative(z[0]))
        return self.times(z, self.number(re), self.number(im))

    def apart(self, first: Any, second: Any) -> Complex:
        """Complex numbers as they lie in memory, one after another, as real and imaginary parts."""
        pick = [ir.Constant(ir.VectorType(i32, self.lanes), [2 * k + part for k in range(self.lanes)]) for part in (0, 1)]
        return self.b.shuffle_vector(first, second, pick[0]), self.b.shuffle_vector(first, second, pick[1])

    def paired(self, z: Complex) -> Complex:
        """And back."""
        half, kind = self.lanes // 2, ir.VectorType(i32, self.lanes)
        halves = [ir.Constant(kind, [at + k + part * self.lanes for k in range(half) for part in (0, 1)]) for at in (0, half)]
        return self.b.shuffle_vector(*z, halves[0]), self.b.shuffle_vector(*z, halves[1])

    # memory: addresses are of floats unless said otherwise, steps are counted in them

    def place(self, base: Any, *steps: Any, kind: Any = f4) -> Any:
        for step in steps:
            base = self.b.gep(base, [step if isinstance(step, ir.Value) else whole(step)], inbounds=True, source_etype=kind)
        return base

    def load(self, base: Any, kind: Any, align: int) -> Any:
        return self.b.load(self.b.bitcast(base, ir.PointerType(kind)), align=align, typ=kind)

    def store(self, value: Any, base: Any, align: int) -> None:
        self.b.store(value, self.b.bitcast(base, ir.PointerType(value.type)), align=align)

    def get(self, base: Any) -> Complex:
        re, im = (self.load(self.place(base, part), self.vector, 4 * self.lanes) for part in (0, self.lanes))
        return re, im

    def put(self, z: Complex, base: Any) -> None:
        for part, value in zip((0, self.lanes), z):
            self.store(value, self.place(base, part), 4 * self.lanes)

    def spread(self, base: Any) -> Any:
        """One float for all lanes."""
        return self.splat(self.load(base, f4, 4))

    @contextmanager
    def loop(self, start: Any, end: Any, *carried: Any) -> Iterator[list[Any]]:
        """for i in range(start, end), once at least. Yields [i, *carried]; what the list holds at the end of a turn is carried to the next,
        and what it holds after the block has come out of the last."""
        b = self.b
        before, body, after = b.block, self.function.append_basic_block(), self.function.append_basic_block()
        b.branch(body)
        b.position_at_end(body)
        phis = [b.phi(v.type) for v in (start, *carried)]
        for phi, first in zip(phis, (start, *carried)):
            phi.add_incoming(first, before)
        values: list[Any] = list(phis)
        yield values
        following = b.add(phis[0], whole(1))
        for phi, value in zip(phis, (following, *values[1:])):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", following, end), body, after)
        b.position_at_end(after)


class Code:
    """Machine code, for as long as this object lives: called with the number of threads, and with whole numbers and addresses, which the
    function finds in a row."""

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
        for name in _INSIDE if _OPENMP else ():
            binding.add_symbol(name, ctypes.cast(getattr(_OPENMP, name), ctypes.c_void_p).value)
        self._engine = binding.create_mcjit_compiler(parsed, machine)
        self._engine.finalize_object()
        self._address = self._engine.get_function_address("run")
        self._alone = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._address)

    def __call__(self, threads: int, *numbers: int) -> None:
        row = array("q", numbers)
        address = row.buffer_info()[0]
        if threads == 1:
            self._alone(address)
        else:
            assert _OPENMP
            _OPENMP.GOMP_parallel(ctypes.c_void_p(self._address), ctypes.c_void_p(address), ctypes.c_uint(threads), ctypes.c_uint(0))
