"""What this machine offers, and what would help."""

from __future__ import annotations

import importlib.util
import os
import platform
import tempfile
import time
from collections.abc import Iterator

import untwin


def findings() -> Iterator[tuple[str, str]]:
    """Pairs of a name and a sentence, as they are found; measures for a few seconds."""
    import torch

    from untwin.processes import cores

    yield "untwin", f"{untwin.__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield "torch", str(torch.__version__)
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        yield "GPU", f"{torch.cuda.get_device_name()}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
    else:
        yield "GPU", "none that this torch can use; everything runs on the CPU"
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    yield "CPU", f"{cores()} cores" + (f", {pages / 2**30:.0f} GiB of memory" if pages else "")
    for shape in ((64, 64), (512, 512), (64, 64, 64)):
        yield "x".join(map(str, shape)), _speed(shape)
    if importlib.util.find_spec("hdf5plugin") is None:
        yield "HDF5 filters", 'no bitshuffle or LZ4 (detector files): pip install "untwin[detector]"'
    else:
        yield "HDF5 filters", "hdf5plugin is installed: compressed detector files can be read"
    try:
        with tempfile.NamedTemporaryFile():
            yield "scratch", f"{tempfile.gettempdir()} can be written"
    except OSError as error:
        yield "scratch", f"{tempfile.gettempdir()} cannot be written ({error.strerror}); set TMPDIR"


def _speed(shape: tuple[int, ...]) -> str:
    """One thread: HIO iterations per second, and how much of an iteration the Fourier transforms take."""
    import numpy as np
    import torch

    from untwin import fourier
    from untwin.data.measurement import Pattern
    from untwin.model.problem import Problem
    from untwin.processes import one_thread
    from untwin.solve.begin import begin
    from untwin.solve.projections import HIO

    rng = np.random.default_rng(0)
    pattern = Pattern(rng.poisson(100, shape).astype(np.float32), np.ones(shape, bool))
    problem = Problem(pattern)
    inside = torch.zeros(shape, dtype=torch.bool)
    inside[tuple(slice(0, n // 3) for n in shape)] = True
    n = 12 if len(shape) == 2 and shape[0] <= 128 else 1
    state = begin(problem, tuple(range(n)), inside)
    with one_thread():
        step = _rate(lambda: HIO().step(problem, state))
        pair = _rate(lambda: fourier.inverse(fourier.forward(state.x, len(shape)), len(shape)))
    return f"{n * step:,.0f} HIO iterations per second and core, {100 * step / pair:.0f} % of them Fourier transforms"


def _rate(action) -> float:
    action()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 0.3:
        action()
        count += 1
    return count / (time.perf_counter() - began)
