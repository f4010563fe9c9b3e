"""libhdf5 crashes on some damaged files, and runs for ever on others: the headers are read first by a forked child, which may die of it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from untwin.processes import ignored

_SECONDS, _ENOUGH = 1, 0.3  # of CPU: a library call that goes on for so long never ends; looking ends by itself after so much


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

    with ignored(DeprecationWarning):  # of a process with threads: the child runs none of them
        child = os.fork()
    if not child:
        with suppress(BaseException):
            _look(path)
        os._exit(0)  # an error is no reason: the parent will meet it and say so
    until = time.monotonic() + 20 * _SECONDS
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return not os.WIFSIGNALED(status)
        if time.monotonic() > until:  # it used no CPU: the machine is to blame, not the file
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.002)


def _look(path: str) -> None:
    """Open what the reader would: the objects that hard links lead to, the attributes that it asks for, what datasets say of themselves."""
    import resource

    import h5py

    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with h5py.File(path, "r") as file:
        waiting: list[Any] = [file]
        while waiting and time.process_time() < _ENOUGH:  # of the child alone
            thing = waiting.pop(0)
            for key in ("default", "signal", "units", "NX_class", "target", "mask", "pixel_mask", "MATLAB_class"):
                with suppress(Exception):
                    thing.attrs.get(key)
            with suppress(Exception):
                if isinstance(thing, h5py.Dataset):
                    _ = thing.external, thing.is_virtual, thing.dtype, thing.chunks, thing.id.get_storage_size()
                    continue
                for name in thing:
                    if time.process_time() > _ENOUGH:
                        return
                    if isinstance(thing.get(name, getlink=True), h5py.HardLink):
                        waiting.append(thing[name])
