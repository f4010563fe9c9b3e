"""What is written for users: paths as shells take them, numbers of things."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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


def typed_options(options: Mapping[str, Any]) -> str:
    """Options of a command as they are typed, each behind a blank; those that are None or False are left out."""
    words = {f" --{name.replace('_', '-')}": v for name, v in options.items() if v is not None and v is not False}
    return "".join(option if value is True else f"{option}{_argument(option, value)}" for option, value in words.items())


def _argument(option: str, value: Any) -> str:
    """What begins with a dash is told from an option: a file by ./, any other value by =."""
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else f"{value:g}" if isinstance(value, float) else str(value)
    return f"={shlex.quote(text)}" if text.startswith("-") and not Path(text).exists() else f" {typed(text)}"


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def amount(n: int, noun: str) -> str:
    """1 pixel, 2 pixels, 1,024 pixels."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def user_path(path: str | Path) -> Path:
    """With the folder of a user in place of ~, unless there is a file of this very name. Raises RuntimeError where no such user is."""
    file = Path(path)
    return file if str(file).startswith("~") and file.exists() else file.expanduser()
