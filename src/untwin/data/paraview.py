"""VTK's XML files for ParaView, written without VTK: .vti on a regular grid, .vts on an oblique one, nothing interpolated.

A head of XML, then one raw block for each array, preceded by its length in bytes as UInt64 (VTK file formats, "appended" and "raw").
Lengths are in nm: ParaView's camera and its filters do not like 1e-9.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from untwin.data.atomic import atomic_write_bytes
from untwin.errors import InputError

NM = 1e9
_TYPES = {"float32": "Float32", "float64": "Float64", "uint8": "UInt8", "int32": "Int32"}


def write_vti(
    path: str | Path,
    fields: dict[str, np.ndarray],
    *,
    origin: np.ndarray,
    spacing: np.ndarray,
    texts: dict[str, str] | None = None,
    vectors: dict[str, np.ndarray] | None = None,
) -> Path:
    """A regular grid. fields: (z, y, x) each, real, all of one shape. origin, spacing: (x, y, z) m, of the voxel (0, 0, 0) and from one to
    the next. texts, vectors: what else the file says, by name. The file appears whole or not at all. Raises InputError."""
    shape = _shape(fields)
    extent = _extent(shape)
    head = f'<ImageData WholeExtent="{extent}" Origin="{_numbers(origin)}" Spacing="{_numbers(spacing)}">'
    return _write(Path(path), "ImageData", head, f'<Piece Extent="{extent}">', fields, None, texts or {}, vectors or {})


def write_vts(
    path: str | Path,
    fields: dict[str, np.ndarray],
    *,
    origin: np.ndarray,
    steps: np.ndarray,
    texts: dict[str, str] | None = None,
    vectors: dict[str, np.ndarray] | None = None,
) -> Path:
    """An oblique grid. fields: (*grid) each, real, all of one shape, slowest axis first. origin: (x, y, z) m of the voxel (0, 0, 0).
    steps: (3, 3) m, row a the step from one voxel to the next along axis a. The rest as for `write_vti`."""
    shape = _shape(fields)
    extent = _extent(shape)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    points = (NM * (np.asarray(origin) + index @ np.asarray(steps))).astype(np.float32).reshape(-1, 3)
    head = f'<StructuredGrid WholeExtent="{extent}">'
    return _write(Path(path), "StructuredGrid", head, f'<Piece Extent="{extent}">', fields, points, texts or {}, vectors or {})


def _shape(fields: dict[str, np.ndarray]) -> tuple[int, ...]:
    shapes = {name: np.shape(values) for name, values in fields.items()}
    if not shapes or len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 3:
        raise InputError(f"fields of shapes {shapes}; expected volumes of one shape")
    wrong = {name: values.dtype for name, values in fields.items() if str(values.dtype) not in _TYPES}
    if wrong:
        raise InputError(f"fields of {wrong}; expected {', '.join(_TYPES)}")
    return next(iter(shapes.values()))


def _extent(shape: tuple[int, ...]) -> str:
    """The last axis of an array is VTK's first."""
    return " ".join(f"0 {n - 1}" for n in reversed(shape))


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{NM * float(v):.9g}" for v in values)


def _write(
    path: Path,
    kind: str,
    head: str,
    piece: str,
    fields: dict[str, np.ndarray],
    points: np.ndarray | None,
    texts: dict[str, str],
    vectors: dict[str, np.ndarray],
) -> Path:
    blocks: list[bytes] = []

    def appended(name: str, values: np.ndarray, components: int = 1) -> str:
        offset = sum(map(len, blocks))
        raw = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
        blocks.append(len(raw).to_bytes(8, "little") + raw)
        kind = _TYPES[str(values.dtype)]
        return f'<DataArray type="{kind}" Name={quoteattr(name)} NumberOfComponents="{components}" format="appended" offset="{offset}"/>'

    rows = ["<PointData>", *(appended(name, values) for name, values in fields.items()), "</PointData>"]
    grid = [] if points is None else ["<Points>", appended("Points", points, 3), "</Points>"]
    lines = [
        '<?xml version="1.0"?>',
        f'<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" header_type="UInt64">',
        head,
        "<FieldData>",
        *(_text(name, value) for name, value in texts.items()),
        *(_vector(name, value) for name, value in vectors.items()),
        "</FieldData>",
        piece,
        *rows,
        *grid,
        "</Piece>",
        f"</{kind}>",
        '<AppendedData encoding="raw">',
    ]
    content = "\n".join(lines).encode() + b"\n_" + b"".join(blocks) + b"\n</AppendedData>\n</VTKFile>\n"
    atomic_write_bytes(path, content)
    return path


def _text(name: str, value: str) -> str:
    """VTK writes a text as the codes of its bytes, closed by a 0."""
    codes = " ".join(map(str, [*value.encode(), 0]))
    return f'<DataArray type="String" Name={quoteattr(name)} NumberOfTuples="1" format="ascii">{codes}</DataArray>'


def _vector(name: str, values: np.ndarray) -> str:
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    numbers = " ".join(f"{v:.12g}" for v in rows.ravel())
    sizes = f'NumberOfComponents="{rows.shape[1]}" NumberOfTuples="{rows.shape[0]}"'
    return f'<DataArray type="Float64" Name={quoteattr(name)} {sizes} format="ascii">{numbers}</DataArray>'
