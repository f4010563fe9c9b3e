"""MATLAB files of version 5 (save -v6 and -v7): arrays of numbers, and those in a struct. The layout is MathWorks' "MAT-File Format". One
variable at a time is unpacked, as far as it declares; objects and function handles are not looked at. (scipy.io.loadmat 1.17 ends the
process on damaged files: 6 of 800 of tests/fuzz.py.)"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from untwin.data.header import LARGE, Entry, affordable, entry_named, unpacked
from untwin.errors import InputError

_VARIABLES, _HEAD = 10_000, 4096  # in one file; bytes in which a variable says what it is
_MATRIX, _COMPRESSED, _STRUCT = 14, 15, 2
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


@dataclass(frozen=True)
class _Variable:
    """entry: as declared. start, stored: where what follows its tag lies in the file, and how many bytes of it. packed: by zlib. content:
    bytes that it unpacks to. order: of the bytes, < or >."""

    entry: Entry
    start: int
    stored: int
    packed: bool
    content: int
    is_struct: bool
    order: str


def is_matlab(head: bytes) -> bool:
    """Version 0x0100 and the mark of the byte order at the end of 128 bytes of text."""
    return head[124:128] in (b"\x00\x01IM", b"\x01\x00MI")


def entries(path: Path) -> list[Entry]:
    """The arrays of numbers; those in a struct of one element are named STRUCT.FIELD."""
    arrays = []
    for variable in _variables(path):
        if variable.is_struct:
            arrays += [Entry(name, values.shape, values.dtype) for name, values in _fields(path, variable).items()]
        elif variable.entry.is_number:
            arrays.append(variable.entry)
    return arrays


def load(path: Path, name: str) -> np.ndarray:
    variables = _variables(path)
    plain = [v for v in variables if v.entry.is_number]
    for variable in plain:
        if variable.entry.name == name or (len(variables) == 1 and not name):
            return _value(path, variable)
    for variable in variables:
        if variable.is_struct and name.startswith(f"{variable.entry.name}."):
            fields = _fields(path, variable)
            if name in fields:
                return fields[name]
    entry_named(entries(path), name, path.name)
    raise InputError(f"{path.name}: {name} holds no numbers")


def _variables(path: Path) -> list[_Variable]:
    variables, size = [], path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(128)[126:] == b"IM" else ">"
        at = 128
        while at + 8 <= size:
            file.seek(at)
            kind, stored = struct.unpack(f"{order}2I", file.read(8))
            if kind not in (_MATRIX, _COMPRESSED):
                raise InputError(f"{path.name}: no variable begins at byte {at:,}; copy or write it again")
            if at + 8 + stored > size:
                raise InputError(f"{path.name} is cut short: a variable needs {stored:,} bytes, there are {size - at - 8:,}; copy it again")
            head, content = file.read(min(stored, 4 * _HEAD)), stored
            if kind == _COMPRESSED:
                head = zlib.decompressobj().decompress(head, _HEAD)
                inner, content = struct.unpack(f"{order}2I", head[:8])
                if inner != _MATRIX:
                    raise InputError(f"{path.name}: a compressed variable holds no array; write it again")
                head = head[8:]
            entry, is_struct = _declared(head, order)
            variables.append(_Variable(entry, at + 8, stored, kind == _COMPRESSED, content, is_struct, order))
            if len(variables) > _VARIABLES:
                raise InputError(f"{path.name} holds more than {_VARIABLES:,} variables; save the pattern alone")
            at += 8 + stored
    names = [v.entry.name for v in variables]
    if len(set(names)) < len(names):
        raise InputError(f"{path.name} holds two variables of one name; write it again")
    return variables


def _declared(head: bytes, order: str) -> tuple[Entry, bool]:
    """What the beginning of a variable says: flags, dimensions, name; and whether it is a struct."""
    flags_tag, flags_size, flags = struct.unpack_from(f"{order}3I", head)
    code = flags & 0xFF
    if (flags_tag, flags_size) != (6, 8) or code == 17:  # 17: an object of a user's class, which has no dimensions
        return Entry("", (), np.dtype(object)), False
    _, size = struct.unpack_from(f"{order}2I", head, 16)
    if not 8 <= size <= 4 * 32:
        raise InputError(f"a variable has {size // 4} axes; expected two or three")
    shape = struct.unpack_from(f"{order}{size // 4}i", head, 24)
    at = 24 + size + size % 8
    short = struct.unpack_from(f"{order}I", head, at)[0]
    length, start = (short >> 16, at + 4) if short >> 16 else (struct.unpack_from(f"{order}I", head, at + 4)[0], at + 8)
    name = head[start : start + min(length, 256)].decode("latin-1")
    dtype = np.dtype(_CLASSES.get(code, object))
    if flags & 0x200:
        dtype = np.dtype(bool)
    elif flags & 0x800 and dtype.kind in "iuf":
        dtype = np.dtype("c8" if code == 7 else "c16")
    return Entry(name, shape, dtype), code == _STRUCT


def _value(path: Path, variable: _Variable) -> np.ndarray:
    entry = variable.entry
    affordable(entry, path.name)
    unpacked(entry, variable.stored, path.name)
    if variable.content > entry.nbytes + _HEAD:
        raise InputError(f"{path.name}: {entry} unpacks to {variable.content:,} bytes, more than it declares; write it again")
    return _numbers(entry, _elements(_content(path, variable), variable.order), variable.order)


def _fields(path: Path, variable: _Variable) -> dict[str, np.ndarray]:
    """The arrays of numbers in a struct, by STRUCT.FIELD; none where it is a list of structs, or too large to be looked through."""
    if variable.entry.shape != (1, 1) or variable.content > LARGE:
        return {}
    elements = _elements(_content(path, variable), variable.order)[3:]
    if len(elements) < 2 or len(elements[0][1]) != 4 or (length := struct.unpack(f"{variable.order}i", elements[0][1])[0]) < 1:
        raise InputError(f"{path.name}: the struct {variable.entry.name} has no names for its fields; write it again")
    fields = {}
    for k, (kind, content) in enumerate(elements[2:]):
        field = bytes(elements[1][1][k * length : (k + 1) * length]).split(b"\0")[0].decode("latin-1")
        entry = Entry("", (), np.dtype(object)) if kind != _MATRIX else _declared(bytes(content[:_HEAD]), variable.order)[0]
        entry = Entry(f"{variable.entry.name}.{field}", entry.shape, entry.dtype)
        if entry.is_number:
            affordable(entry, path.name)
            fields[entry.name] = _numbers(entry, _elements(content, variable.order), variable.order)
    return fields


def _content(path: Path, variable: _Variable) -> memoryview:
    """What a variable holds behind its tag, unpacked as far as it declares."""
    with path.open("rb") as file:
        file.seek(variable.start)
        if not variable.packed:
            return memoryview(file.read(variable.stored))
        unpacker, content, left = zlib.decompressobj(), bytearray(), variable.stored
        while left > 0 and not unpacker.eof:
            packed = file.read(min(left, 2**20))
            left -= len(packed)
            while packed and not unpacker.eof:
                content += unpacker.decompress(packed, 2**24)
                packed = unpacker.unconsumed_tail
                if len(content) > variable.content + 16:  # its tag, and a filling
                    raise InputError(f"{path.name}: {variable.entry} unpacks to more than it declares; write it again")
        if not unpacker.eof:
            raise InputError(f"{path.name}: {variable.entry} is cut short; copy the file again")
    return memoryview(content)[8:]


def _elements(content: memoryview, order: str) -> list[tuple[int, memoryview]]:
    """(type, bytes) one after the other."""
    elements, at = [], 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}2I", content, at)
        if kind >> 16:  # at most four bytes, in the tag itself
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        else:
            start = at + 8
        if start + size > len(content) or len(elements) > _VARIABLES:
            raise InputError(f"an element needs {size:,} bytes, {len(content) - start:,} are there")
        elements.append((kind, content[start : start + size]))
        at = start + size + -(start + size) % 8
    return elements


def _numbers(entry: Entry, elements: list[tuple[int, memoryview]], order: str) -> np.ndarray:
    """The array of a variable. elements: flags, dimensions, name, values, imaginary parts."""
    parts = []
    for kind, content in elements[3 : 5 if entry.dtype.kind == "c" else 4]:
        values = np.frombuffer(content, f"{order}{_TYPES.get(kind, 'V1')}")
        if values.dtype.kind not in "iuf" or values.size != math.prod(entry.shape):
            raise InputError(f"{entry} holds {values.size:,} values of type {kind}; write the file again")
        parts.append(values)
    if len(parts) != (2 if entry.dtype.kind == "c" else 1):
        raise InputError(f"{entry} holds no values; write the file again")
    result = np.empty(entry.shape, entry.dtype)
    with np.errstate(invalid="ignore"):  # NaN in what is declared to be of integers
        result.real = parts[0].reshape(entry.shape, order="F")
        if len(parts) == 2:
            result.imag = parts[1].reshape(entry.shape, order="F")
    return result
