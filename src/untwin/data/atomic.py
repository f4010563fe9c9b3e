"""Files that are complete or not there at all: written under another name, flushed to the disk, renamed."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from untwin.errors import InputError

PART = ".part"  # how the name of an unfinished file ends; it begins with a dot


@contextmanager
def atomic_write(target: Path, durable: bool = True) -> Iterator[Path]:
    """A name to write under. At the end of the block the file takes the place of `target`; where the block raises, or the
    process is killed, `target` is what it was. Its folder is made. durable=False: a power failure may take it, and nothing waits for the
    disk. Raises InputError where it cannot be written."""
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}{PART}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _flush(temporary)
        os.replace(temporary, target)
        if durable:
            _flush(target.parent)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def atomic_write_text(target: Path, text: str) -> None:
    """The text under that name, complete or not at all. Raises InputError where it cannot be written."""
    atomic_write_bytes(target, text.encode("utf-8"))


def atomic_write_bytes(target: Path, content: bytes) -> None:
    """Likewise."""
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)


def sha256(path: Path) -> str:
    """Of a file's bytes. Raises InputError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from None


def require_writable(path: Path, needed: int = 0) -> Path:
    """The path, checked: a file or folder of this name can be made there, with `needed` bytes. Nothing is made yet. Raises InputError."""
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(path)  # a name that is too long, or has a NUL in it
        parent = next(p for p in [path, *path.absolute().parents] if p.exists())
        free = shutil.disk_usage(parent).free
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {path}: {error}; choose another name") from error
    if parent != path and not parent.is_dir():
        raise InputError(f"{path} would lie in {parent}, which is a file; choose another folder")
    if not os.access(parent, os.W_OK):
        raise InputError(f"cannot write in {parent}; choose another folder")
    if free < needed:
        raise InputError(
            f"{needed / 2**20:.0f} MB are needed for {path}, {free / 2**20:.0f} MB are free; delete something or choose another disk"
        )
    return path


def new_file(path: Path, endings: tuple[str, ...], overwrite: bool) -> Path:
    """The path of a file to write, checked before anything is computed: its ending, that nothing is there unless overwrite is set, and what
    `require_writable` checks. Raises InputError."""
    if path.suffix.lower() not in endings:
        raise InputError(f"cannot write {path}; expected a name that ends in {endings[0]} (or {', '.join(endings[1:])})")
    require_writable(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of a file")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name or overwrite=True (--overwrite)")
    return path


def _flush(path: Path) -> None:
    """To the disk. Windows has no handle of a folder, and flushes a file only for whoever may write it."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
