"""Files that are complete or not there at all: written under another name, flushed to the disk, renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from untwin.errors import InputError

PART = ".part"  # how the name of an unfinished file ends; it begins with a dot


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A name to write under. At the end of the block the file takes the place of `target`; where the block raises, or the
    process is killed, `target` is what it was. Raises InputError where it cannot be written."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{PART}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
        _flush(target.parent)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """The text under that name, complete or not at all. Raises InputError where it cannot be written."""
    write_bytes(target, text.encode("utf-8"))


def write_bytes(target: Path, content: bytes) -> None:
    """Likewise."""
    with whole(target) as temporary:
        temporary.write_bytes(content)


def place(path: Path) -> Path:
    """The path, checked: a file or folder of this name can be made there. Nothing is made yet. Raises InputError."""
    parent = next(p for p in [path, *path.absolute().parents] if p.exists())
    if parent != path and not parent.is_dir():
        raise InputError(f"{path} would lie in {parent}, which is a file; choose another folder")
    if not os.access(parent, os.W_OK):
        raise InputError(f"cannot write in {parent}; choose another folder")
    return path


def _flush(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
