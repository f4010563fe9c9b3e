"""Logs of spec (certif): scans one after the other in a text file, #S before each.

#F, #O, #o (names of motors, full and short), #J, #j (of counters) stand at the top, and again after each restart; #P (where the motors
stood), #L (names of the columns) and the rows in each scan. Names may hold a blank: two blanks part them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from untwin.bragg.reading.log import Log, lines_of, number, table
from untwin.errors import InputError


@dataclass
class _Header:
    """The names that hold for the scans that follow."""

    motors: dict[int, list[str]] = field(default_factory=dict)
    short: dict[int, list[str]] = field(default_factory=dict)
    counters: dict[int, list[str]] = field(default_factory=dict)
    short_counters: dict[int, list[str]] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)

    def add(self, line: str) -> None:
        if match := re.match(r"#([OoJj])(\d+) ?(.*)", line):
            groups = {"O": self.motors, "o": self.short, "J": self.counters, "j": self.short_counters}
            if match[1] == "O" and match[2] == "0":
                for group in groups.values():
                    group.clear()
            names = match[3].split() if match[1] in "oj" else named(match[3])
            groups[match[1]][int(match[2])] = names
        elif match := re.match(r"#(F|U\w*)\s+(.*)", line):
            self.lines[match[1]] = match[2].strip()

    def aliases(self) -> dict[str, str]:
        pairs = {}
        for full, short in ((self.motors, self.short), (self.counters, self.short_counters)):
            for k, names in full.items():
                if len(names) == len(short.get(k, ())):
                    pairs |= {s: n for s, n in zip(short[k], names) if s != n}
        return pairs


def is_spec(head: bytes) -> bool:
    """By the first bytes of a file."""
    text = head.lstrip(b"\r\n\t ")
    return re.match(rb"#F |#S \d|#E \d+\s*\n#D ", text) is not None and b"\n#" in text[:4000]


def scans(path: Path) -> dict[str, int]:
    """Number of rows by the number of the scan; of a number that occurs again, 54, 54.2, ..."""
    count: dict[str, int] = {}
    key = ""
    for line in lines_of(path):
        if line.startswith("#S "):
            key = _fresh(line, count)
            count[key] = 0
        elif key and _is_row(line):
            count[key] += 1
    return count


def read(path: Path, key: str) -> Log:
    """The scan of this number (a key of `scans`). Raises InputError."""
    header, count, inside = _Header(), {}, False
    block: list[str] | None = None
    for line in lines_of(path):
        if line.startswith("#F "):
            inside = False
        if line.startswith("#S "):
            inside = True
            if block is not None:
                break
            fresh = _fresh(line, count)
            count[fresh] = 0
            if fresh == key:
                block = [line]
        elif block is not None:
            if line.startswith("#F "):
                break
            block.append(line)
        elif not inside:
            header.add(line)
    if block is None:
        raise InputError(f"{path.name} has no scan {key}; it has {listed(list(count))}")
    return _log(path, key, block, header)


def listed(numbers: list[str]) -> str:
    """For a sentence."""
    if len(numbers) > 12:
        return f"{', '.join(numbers[:6])} ... {', '.join(numbers[-3:])} ({len(numbers)} scans)"
    return ", ".join(numbers) or "none"


def named(text: str) -> list[str]:
    """Names that two blanks part, or where none are so, one."""
    names = [n.strip() for n in re.split(r"\s{2,}|\t", text.strip()) if n.strip()]
    return names if len(names) > 1 else text.split()


def _log(path: Path, key: str, block: list[str], header: _Header) -> Log:
    what = f"scan {key} of {path.name}"
    notes, places, text, lines = [], {}, "", dict(header.lines)
    rows: list[list[float]] = []
    for line in block:
        if match := re.match(r"#P(\d+) ?(.*)", line):
            names, values = header.motors.get(int(match[1]), []), match[2].split()
            if len(names) != len(values):
                notes.append(f"{what}: #P{match[1]} has {len(values)} values for {len(names)} motors; they are not used")
            else:
                places |= {n: v for n, v in zip(names, map(number, values)) if np.isfinite(v)}
        elif line.startswith("#L "):
            text = line[3:].strip()
        elif line.startswith("#C ") and re.search("abort|interrupt", line, re.IGNORECASE):
            notes.append(f"{what} was aborted, as its log has it: {line[3:].strip()[:80]}")
        elif match := re.match(r"#([A-Z]\w*)\s+(.*)", line):
            lines[match[1]] = match[2].strip()
        elif _is_row(line):
            rows.append([number(v) for v in line.split()])
    columns = table(what, _labels(text, max(map(len, rows), default=0)), rows, notes)
    command = re.sub(r"^#S +\S+ *", "", block[0]).strip()
    units: dict[str, str] = {}
    for line in lines.values():  # #UMONO mononrj=9.0000keV,...
        for name, value, unit in re.findall(r"(\w+)=([-+]?\d[\d.]*(?:[eE][-+]?\d+)?)([A-Za-z]*)(?=,|\s|$)", line):
            places.setdefault(name, number(value))
            if unit:
                units.setdefault(name, unit)
    return Log(what, key, command, columns, places, header.aliases(), units, lines, tuple(notes))


def _labels(text: str, width: int) -> list[str]:
    """The names of columns, parted so that there are as many as numbers in a row, if one way does that."""
    ways = [named(text), text.split()]
    return next((names for names in ways if len(names) == width), ways[0])


def _fresh(line: str, count: dict[str, int]) -> str:
    """The key of the scan that a line begins."""
    match = re.match(r"#S +(\d+)", line)
    digits = str(int(match[1])) if match else "?"
    again = sum(1 for key in count if key.partition(".")[0] == digits)
    return digits if not again else f"{digits}.{again + 1}"


def _is_row(line: str) -> bool:
    return re.match(r"\s*[-+]?(\d|\.\d|nan|inf)", line, re.IGNORECASE) is not None
