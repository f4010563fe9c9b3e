"""What is written for users: paths as shells take them, numbers of things."""

from __future__ import annotations

import shlex
from pathlib import Path


def typed(value: object) -> str:
    """As an argument for a shell, in a command that can be pasted: quoted where needed, never an option or a ~, and in one printable line
    (bash, zsh and ksh read $'...')."""
    text = str(value)
    if text.startswith("-"):
        text = f"./{text}"
    if text.isprintable():
        return shlex.quote(text)
    octal = "".join(c if c.isprintable() and c not in "'\\" else _octal(c) for c in text)
    return f"$'{octal}'"


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def amount(n: int, noun: str) -> str:
    """1 pixel, 2 pixels, 1,024 pixels."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def user_path(path: str | Path) -> Path:
    """With the folder of a user in place of ~, unless there is a file of this very name. Raises RuntimeError where no such user is."""
    file = Path(path)
    return file if str(file).startswith("~") and file.exists() else file.expanduser()
