"""What this machine offers, and what would help."""

from __future__ import annotations

import importlib.util
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import untwin


def findings() -> Iterator[tuple[str, str]]:
    """Pairs of a name and a sentence, as they are found; measures for a few seconds."""
    import torch

    from untwin.engine import memory
    from untwin.processes import cores
    from untwin.runs.memory import memory_of_machine

    yield "untwin", f"{untwin.__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield "torch", str(torch.__version__)
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        yield "GPU", f"{torch.cuda.get_device_name()}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
    else:
        yield "GPU", "none that this torch can use; everything runs on the CPU"
    pages = memory_of_machine() or 0
    yield "CPU", f"{cores()} cores" + (f", {pages / 2**30:.0f} GiB of memory" if pages else "")
    yield "engine", _engine()
    for shape, starts in (((64, 64), 12), ((64, 64, 64), 1), ((128, 128, 128), 1), ((256, 256, 256), 1)):
        if pages and math.prod(shape) * 100 > pages:  # six complex arrays and room to spare
            yield "x".join(map(str, shape)), "left out: too little memory"
        else:
            yield "x".join(map(str, shape)), _speed(shape, starts)
    memory.release()
    if importlib.util.find_spec("hdf5plugin") is None:
        yield "HDF5 filters", 'no bitshuffle or LZ4 (detector files): pip install "untwin[detector]"'
    else:
        yield "HDF5 filters", "hdf5plugin is installed: compressed detector files can be read"
    if importlib.util.find_spec("fabio") is None:
        yield "CBF", 'no fabio, which reads it: pip install "untwin[detector]"'
    if importlib.util.find_spec("distributed") is None:
        yield "cluster", 'no Dask (starts on many machines): pip install "untwin[cluster]"'
    else:
        yield "cluster", "Dask is installed: --scheduler gives starts to many machines"
    try:
        with tempfile.NamedTemporaryFile():
            yield "scratch", f"{tempfile.gettempdir()} can be written"
    except OSError as error:
        yield "scratch", f"{tempfile.gettempdir()} cannot be written ({error.strerror}); set TMPDIR"


@dataclass(frozen=True)
class Limit:
    """What an iteration of a projection algorithm costs at least: a pair of transforms, and 45 bytes per pixel to and from memory
    (modulus: wave in and out, amplitude; object: both objects in, one out, support). Seconds, bytes per second."""

    transforms: float
    bandwidth: float
    pixels: int

    @property
    def seconds(self) -> float:
        return self.transforms + 45 * self.pixels / self.bandwidth


STRETCH = 20  # iterations in one call


def trial(shape: tuple[int, ...], starts: int = 1) -> dict[str, Callable[[], object]]:
    """Things to be timed on an array: "copy" (16 bytes per pixel), "transforms" (a pair), "HIO" (`STRETCH` iterations)."""
    import numpy as np
    import torch

    from untwin import fourier
    from untwin.data.measurement import Pattern
    from untwin.model.problem import Problem
    from untwin.solve.begin import begin
    from untwin.solve.projections import HIO

    rng = np.random.default_rng(0)
    problem = Problem(Pattern(rng.poisson(100, shape).astype(np.float32), np.ones(shape, bool)))
    radius = sum(
        (((torch.arange(n) + 0.5) * 4 / n - 1) ** 2).reshape([-1 if a == i else 1 for a in range(len(shape))]) for i, n in enumerate(shape)
    )
    state = begin(problem, tuple(range(starts)), torch.as_tensor(radius) <= 1)  # a ball that fills half of every axis
    moving, to = [state], torch.empty_like(state.x)
    wave = [fourier.forward(state.x, len(shape))]

    def transforms() -> None:
        wave[0] = fourier.forward(fourier.inverse(wave[0], len(shape), spent=True), len(shape), spent=True)

    def iterations() -> None:
        moving[0] = HIO().stretch(problem, moving[0], STRETCH)

    return {"copy": lambda: to.copy_(state.x), "transforms": transforms, "HIO": iterations}


def timed(
    trials: dict[str, Callable[[], object]], rounds: int = 5, seconds: float = 0.1, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """Seconds of each by the clock: all in turn, so that a busy machine is as bad for one as for another; the median of the rounds."""
    counts = {}
    for name, action in trials.items():
        action()
        began = time.perf_counter()
        action()
        counts[name] = max(1, min(2000, int(seconds / (time.perf_counter() - began + 1e-9))))
    times: dict[str, list[float]] = {name: [] for name in trials}
    for _ in range(rounds):
        for name, action in trials.items():
            began = clock()
            for _ in range(counts[name]):
                action()
            times[name].append((clock() - began) / counts[name])
    return {name: statistics.median(t) for name, t in times.items()}


def limit(times: dict[str, float], pixels: int) -> Limit:
    """The limit, from what `trial` and `timed` found."""
    return Limit(times["transforms"], 16 * pixels / times["copy"], pixels)


def _engine() -> str:
    """Which forms of the engine are used here."""
    from untwin import engine
    from untwin.engine import mkl

    if engine.PLAIN:
        return "torch alone, as UNTWIN_ENGINE asks"
    if engine._compiled():
        return "iterations as machine code for this processor"
    if importlib.util.find_spec("llvmlite"):
        return "torch alone (llvmlite is installed but cannot be used here)"
    transforms = ", its MKL in place" if mkl.usable() else ""
    return f'torch alone{transforms} (pip install "untwin[fast]": iterations as machine code, two to six times as fast)'


def _speed(shape: tuple[int, ...], starts: int = 1) -> str:
    from untwin.processes import one_thread

    pixels = starts * math.prod(shape)
    with one_thread():
        times = timed(trial(shape, starts), rounds=3)
    least = limit(times, pixels)
    rate = 2 * 5 * pixels * math.log2(math.prod(shape)) / times["transforms"]
    each = times["HIO"] / STRETCH
    return (
        f"{starts / each:,.0f} HIO iterations per second and core, {100 * least.seconds / each:.0f} % of the {starts / least.seconds:,.0f} "
        f"that torch's transforms allow ({rate / 1e9:.1f} GFLOP/s; copies {least.bandwidth / 1e9:.0f} GB/s)"
    )
