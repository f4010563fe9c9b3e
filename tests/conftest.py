"""One thread, reproducible examples, and the folder of measured data (UNTWIN_DATA) where there is one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # of this process, before NumPy, and of those that it starts
    os.environ[name] = "1"
os.environ["MPLBACKEND"] = "Agg"

settings.register_profile("untwin", deadline=None, max_examples=60, derandomize=True, database=None)
settings.load_profile("untwin")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Arrays as small as these gain nothing from more threads, and there is one process of tests per core."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def measured() -> Callable[[str], Path]:
    """measured("real/x.npz"): a file of UNTWIN_DATA, or a visible skip."""

    def find(name: str) -> Path:
        folder = os.environ.get("UNTWIN_DATA")
        if not folder or not (Path(folder) / name).exists():
            pytest.skip(f"UNTWIN_DATA names no folder with {name}")
        return Path(folder) / name

    return find


@pytest.fixture
def handlers() -> Iterator[Callable[..., None]]:
    """handlers(term): SIGINT raises KeyboardInterrupt, also where the tests run in the background of a shell; SIGTERM is handled by `term`,
    and without one it is an error that nobody hears it, where it would end the tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def unheard(number: int, frame: object) -> None:
        raise RuntimeError("nobody heard SIGTERM")

    def handle(term: Callable = unheard) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, term)

    yield handle
    for number, handler in before.items():
        signal.signal(number, handler)
