"""What tests of processes wait for: an event, never a time. Nothing here depends on how fast the machine is."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LIMIT = 40.0  # seconds after which an event that does not come is a failure: far more than any of them takes
forks = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="a process that is killed here is a fork of this one"
)


def until(happened: Callable[[], object], what: str) -> None:
    """Looks again and again until it has happened; fails where it does not within LIMIT."""
    end = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < end, f"waited {LIMIT:.0f} s in vain: {what}"
        time.sleep(0.01)


def dies(work: Callable, *arguments: object) -> int:
    """The exit code of a fork of this process that does the work, and may kill itself at a moment of its own."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join(LIMIT)
    if process.exitcode is None:
        process.kill()
        process.join()
        pytest.fail(f"{work.__name__} neither ended nor died within {LIMIT:.0f} s")
    return process.exitcode


def children(parent: int) -> list[int]:
    """The processes that `parent` has started, as Linux lists them."""
    return [int(p) for p in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def alive(process: int) -> bool:
    """False, too, for one that has ended and whose parent has not been told yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def calls(most: int) -> Iterator[None]:
    """Inside, at most so many functions are called: what takes little time on any machine."""
    count = 0

    def called(frame: object, event: str, function: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        yield
    finally:
        sys.setprofile(None)
    assert count <= most, f"{count:,} calls, {most:,} at most"
