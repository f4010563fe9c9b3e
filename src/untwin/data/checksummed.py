"""Files that know whether they are whole: what was written, then its SHA-256. The version before the last stays beside each."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from untwin.data.atomic import atomic_write
from untwin.errors import CheckpointWarning, InputError

SEAL = b"untwin sealed 1\n"  # stands at the end, before the 32 bytes of the SHA-256
BEFORE = ".before"  # how the name of the version before the last ends


def write(target: Path, fill: Callable[[Any], object]) -> None:
    """What `fill` writes into the open file that it is handed, sealed; it takes the place of `target` when it is complete, and what was
    there becomes NAME.before. Raises InputError where it cannot be written: the last version is then under either name."""
    with atomic_write(target) as temporary:
        with temporary.open("xb") as file:
            sink = _Hashed(file)
            fill(sink)
            file.write(SEAL + sink.sha256.digest())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.replace(target, before(target))


def read(target: Path) -> bytes | None:
    """What was written last, or the time before where that is damaged (a CheckpointWarning says so); None where nothing was. Raises
    InputError where both are damaged."""
    damaged = []
    for path in (target, before(target)):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}; check its permissions") from None
        end = len(content) - len(SEAL) - 32
        if end >= 0 and content[end:-32] == SEAL and hashlib.sha256(memoryview(content)[:end]).digest() == content[-32:]:
            if damaged:
                warnings.warn(f"{damaged[0]} is damaged; the one before it is used", CheckpointWarning, stacklevel=2)
                with suppress(OSError):
                    damaged[0].unlink()  # or the next version would put it in the place of the good one
            return content[:end]
        damaged.append(path)
    if damaged:
        raise InputError(f"{damaged[0]} is damaged (its SHA-256 does not fit), and there is no older one; begin anew in another folder")
    return None


def before(target: Path) -> Path:
    return target.with_name(target.name + BEFORE)


class _Hashed:
    """A file to write into, and the SHA-256 of what went there."""

    def __init__(self, file: Any) -> None:
        self.file, self.sha256 = file, hashlib.sha256()

    def write(self, content: Any) -> int:
        self.sha256.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()
