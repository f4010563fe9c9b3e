"""Logs of DESY (.fio): one scan in a file: %c comments, %p places of motors, %d names of columns and the rows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from untwin.bragg.reading.log import Log, lines_of, number, table
from untwin.errors import InputError


def is_fio(head: bytes) -> bool:
    """By the first bytes of a file."""
    return re.search(rb"^\s*%[cpd]\s*$", head, re.MULTILINE) is not None and head.lstrip().startswith((b"!", b"%"))


def read(path: Path) -> Log:
    """Raises InputError."""
    stem = re.search(r"(\d+)$", path.stem)
    what, section, notes = path.name, "", []
    comments: list[str] = []
    places: dict[str, float] = {}
    header: dict[str, str] = {}
    labels: list[str] = []
    rows: list[list[float]] = []
    for line in lines_of(path):
        text = line.strip()
        if match := re.fullmatch(r"%([a-z])\w*", text):
            section = match[1]
        elif not text or text.startswith("!"):
            continue
        elif section == "c":
            comments.append(text)
        elif section == "p" and (match := re.match(r"(\S+)\s*=\s*(.*)", text)):
            value = number(match[2])
            if np.isfinite(value):
                places[match[1]] = value
            else:
                header[match[1]] = match[2].strip()
        elif section == "d":
            if match := re.match(r"Col\s+\d+\s+(\S+)", text, re.IGNORECASE):
                labels.append(match[1])
            else:
                rows.append([number(v) for v in text.split()])
    if not labels:
        raise InputError(f"{what} names no columns (' Col 1 om DOUBLE' after %d): it is cut short, or no log of a scan; copy it again")
    digits = str(int(stem[1])) if stem else ""
    return Log(
        f"the log {what}",
        digits,
        comments[0] if comments else "",
        table(what, labels, rows, notes),
        places,
        header=header,
        notes=tuple(notes),
    )
