"""ParaView's files: what stands in them, read back by a reader of our own that knows only the format."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from untwin.data.paraview import write_vti, write_vts
from untwin.errors import InputError

DTYPES = {"Float32": "<f4", "Float64": "<f8", "UInt8": "u1", "Int32": "<i4"}


def parts(path):
    """(head as XML, {name: array}) of a file with appended raw blocks."""
    content = path.read_bytes()
    at = content.index(b'<AppendedData encoding="raw">')
    raw = content[content.index(b"_", at) + 1 :]
    root = ET.fromstring(content[:at] + b"</VTKFile>")
    arrays = {}
    for node in root.iter("DataArray"):
        if node.get("format") == "appended":
            offset = int(node.get("offset"))
            length = int(np.frombuffer(raw[offset : offset + 8], "<u8")[0])
            arrays[node.get("Name")] = np.frombuffer(raw[offset + 8 : offset + 8 + length], DTYPES[node.get("type")])
    return root, arrays


def text(root, name):
    node = next(n for n in root.iter("DataArray") if n.get("Name") == name)
    return bytes(map(int, node.text.split()))[:-1].decode()


def fields(shape):
    rng = np.random.default_rng(3)
    return {"strain": rng.normal(size=shape).astype(np.float32), "support": rng.random(shape) < 0.5}


def test_a_regular_grid_has_x_fastest_and_its_places_in_nanometres(tmp_path):
    values = fields((3, 4, 5))
    values["support"] = values["support"].astype(np.uint8)
    path = write_vti(tmp_path / "a.vti", values, origin=np.array([1e-9, 2e-9, 3e-9]), spacing=np.array([5e-9, 6e-9, 7e-9]))
    root, arrays = parts(path)
    grid = root.find("ImageData")
    assert grid.get("WholeExtent") == "0 4 0 3 0 2"
    assert [float(v) for v in grid.get("Origin").split()] == [1, 2, 3]
    assert [float(v) for v in grid.get("Spacing").split()] == [5, 6, 7]
    for name, array in values.items():
        assert np.array_equal(arrays[name].reshape(3, 4, 5), array)


def test_an_oblique_grid_has_a_point_for_each_voxel(tmp_path):
    values = {"strain": fields((3, 4, 5))["strain"]}
    steps, origin = np.array([[1.0, 0.5, 0], [0, 2, 0.25], [0.125, 0, 3]]) * 1e-9, np.array([10e-9, 0, -5e-9])
    root, arrays = parts(write_vts(tmp_path / "a.vts", values, origin=origin, steps=steps))
    points = arrays["Points"].reshape(3, 4, 5, 3)
    assert np.allclose(points[2, 1, 3], 1e9 * (origin + 2 * steps[0] + steps[1] + 3 * steps[2]), rtol=1e-6)
    assert root.find("StructuredGrid").get("WholeExtent") == "0 4 0 3 0 2"
    assert np.array_equal(arrays["strain"].reshape(3, 4, 5), values["strain"])


def test_texts_and_vectors_are_in_the_file(tmp_path):
    words = 'phase = -q.u, "tension" & <positive>, ångström'
    path = write_vti(
        tmp_path / "a.vti",
        {"strain": np.zeros((2, 2, 2), np.float32)},
        origin=np.zeros(3),
        spacing=np.ones(3),
        texts={"convention": words},
        vectors={"q": np.array([1.0, 2.5, -3.0])},
    )
    root, _ = parts(path)
    assert text(root, "convention") == words
    node = next(n for n in root.iter("DataArray") if n.get("Name") == "q")
    assert [float(v) for v in node.text.split()] == [1, 2.5, -3]
    assert re.match(rb"<\?xml version", path.read_bytes())


@pytest.mark.parametrize(
    "wrong",
    [{}, {"a": np.zeros((2, 2), np.float32)}, {"a": np.zeros((2, 2, 2), complex)}, {"a": np.zeros((2, 2, 2)), "b": np.zeros((2, 2, 3))}],
    ids=["nothing", "a plane", "complex", "two shapes"],
)
def test_what_is_no_volume_is_refused_and_nothing_is_written(tmp_path, wrong):
    with pytest.raises(InputError):
        write_vti(tmp_path / "a.vti", wrong, origin=np.zeros(3), spacing=np.ones(3))
    assert not list(tmp_path.iterdir())
