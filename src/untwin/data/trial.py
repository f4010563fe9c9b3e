"""libhdf5 crashes on some damaged files, and runs for ever on others: the headers are read first by a forked child, which may die of it."""

from __future__ import annotations

import os
import signal
import time
import warnings
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

_SECONDS = 1  # of CPU; what a file with _MANY objects takes is a tenth of it
_MANY = 1000  # objects looked at


def survives(path: Path) -> bool:
    """False where reading the headers of an HDF5 file ends the process that does it, or keeps it busy for good. Nothing is tried on a
    system without fork."""
    if not hasattr(os, "fork"):
        return True
    status = path.stat()
    return _survives(str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _survives(path: str, changed: int, size: int) -> bool:
    import h5py  # noqa: F401  in the parent, once

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a process with threads: the child runs none of them
        child = os.fork()
    if not child:
        with suppress(BaseException):
            _look(path)
        os._exit(0)  # an error is no reason: the parent will meet it and say so
    until = time.monotonic() + 20 * _SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return not os.WIFSIGNALED(status)
        if time.monotonic() > until:  # it used no CPU: the machine is to blame, not the file
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.002)


def _look(path: str) -> None:
    """Open every object that hard links lead to, its attributes, and its first value."""
    import resource

    import h5py

    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    left = _MANY

    def visit(name: str, thing: h5py.Group | h5py.Dataset) -> bool | None:
        nonlocal left
        left -= 1
        with suppress(Exception):
            for key in thing.attrs:
                with suppress(Exception):
                    thing.attrs[key]
        if isinstance(thing, h5py.Dataset):
            with suppress(Exception):
                thing.external, thing.is_virtual, thing.dtype, thing.chunks, thing.id.get_storage_size()
        return True if left <= 0 else None

    with h5py.File(path, "r") as file:
        visit("/", file)
        file.visititems(visit)
