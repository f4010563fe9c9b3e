"""Results for other programs: what lies where, in which unit, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from test_show import ball, letter_f, solved
from untwin.cli import main
from untwin.data.measurement import Geometry
from untwin.data.stl import write_stl
from untwin.errors import InputError
from untwin.show.export import export


def appended(path) -> dict[str, np.ndarray]:
    """The arrays of a VTK file by name, as ParaView would find them."""
    import re

    content = path.read_bytes()
    head, _, blocks = content.partition(b'<AppendedData encoding="raw">\n_')
    kinds = {"Float32": "<f4", "UInt8": "u1"}
    arrays = {}
    for kind, name, parts, offset in re.findall(
        r'<DataArray type="(\w+)" Name="([^"]+)" NumberOfComponents="(\d)" format="appended" offset="(\d+)"', head.decode()
    ):
        start = int(offset)
        length = int.from_bytes(blocks[start : start + 8], "little")
        values = np.frombuffer(blocks[start + 8 : start + 8 + length], kinds[kind])
        arrays[name] = values.reshape(-1, 3) if parts == "3" else values
    arrays["head"] = head.decode()
    return arrays


@pytest.mark.parametrize("image", [letter_f(24), ball(16)], ids=["2D", "3D"])
def test_a_regular_grid_for_paraview(tmp_path, image):
    solution = solved(image)
    (path,) = export(solution, tmp_path / "o.vti")
    arrays = appended(path)
    np.testing.assert_allclose(arrays["magnitude"], np.abs(solution.image.numpy()).ravel(), rtol=1e-6)
    np.testing.assert_array_equal(arrays["support"], solution.support.numpy().ravel())
    voxel = [1e9 * v for v in reversed(solution.pattern.voxel_size)]
    voxel += voxel[:1] if image.ndim == 2 else []
    assert f'Spacing="{" ".join(f"{v:.9g}" for v in voxel)}"' in arrays["head"]
    n = image.shape[-1]
    assert f'Origin="{-(n // 2) * voxel[0]:.9g} ' in arrays["head"]


def test_an_oblique_grid_lies_where_its_voxels_are(tmp_path):
    rows = ((3e6, 1e6, 0.0), (0.0, 4e6, 1e6), (1e6, 0.0, 5e6))
    solution = solved(ball(16))
    solution = replace(solution, pattern=replace(solution.pattern, geometry=Geometry(1.4e-10, sampling=rows, q=(0.0, 1e10, 0.0))))
    with pytest.raises(InputError, match="oblique.*export to vts"):
        export(solution, tmp_path / "o.vti")
    (path,) = export(solution, tmp_path / "o.vts")
    points = appended(path)["Points"].reshape(16, 16, 16, 3)
    vectors = 1e9 * solution.pattern.geometry.voxel_vectors((16,) * 3)
    np.testing.assert_allclose(points[8, 8, 8], 0, atol=1e-4)
    for axis in range(3):
        at = [8, 8, 8]
        at[axis] += 3
        np.testing.assert_allclose(points[tuple(at)], 3 * vectors[axis], rtol=1e-4, atol=1e-3)


def test_arrays_with_their_units(tmp_path):
    solution = solved(letter_f(24))
    (path,) = export(solution, tmp_path / "o.npz")
    with np.load(path) as file:
        image, about = file["image"], json.loads(str(file["about"]))
        np.testing.assert_allclose(np.abs(image), np.abs(solution.image.numpy()), rtol=1e-6)
        np.testing.assert_allclose(np.angle(image[solution.support.numpy()]), 0, atol=1e-5)  # the mean phase is taken out
        np.testing.assert_allclose(file["voxel_size"], solution.pattern.voxel_size)
        np.testing.assert_allclose(np.linalg.norm(file["voxel_vectors"], axis=1), solution.pattern.voxel_size)
        assert about["lengths"] == "m" and about["verdict"] == solution.verdict.text
    export(solved(letter_f(24), known=False), path)
    with np.load(path) as file:
        assert "voxel_size" not in file.files and json.loads(str(file["about"]))["lengths"] == "pixels"


@pytest.mark.parametrize("image", [letter_f(24), ball(16)], ids=["2D", "3D"])
def test_stacks_for_imagej(tmp_path, image):
    import tifffile

    solution = solved(image)
    paths = export(solution, tmp_path / "o.tif")
    assert [p.name for p in paths] == ["o_magnitude.tif", "o_phase.tif"]
    np.testing.assert_allclose(tifffile.imread(paths[0]), np.abs(solution.image.numpy()), rtol=1e-6)
    phase = tifffile.imread(paths[1])
    assert phase.dtype == np.float32 and (phase[~solution.support.numpy()] == 0).all()


def test_a_surface_is_closed_and_has_the_size_of_the_body(tmp_path):
    solution = solved(ball(24))
    (path,) = export(solution, tmp_path / "o.stl")
    content = path.read_bytes()
    assert content[:80].decode().strip().endswith("in nm") and len(content) == 84 + 50 * int.from_bytes(content[80:84], "little")
    facets = np.frombuffer(content[84:], [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    corners = facets["corners"].astype(float)
    volume = (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum() / 6  # positive: the triangles look outwards
    voxel = 1e9 * np.array(solution.pattern.voxel_size)
    assert volume == pytest.approx(float(solution.support.sum()) * voxel.prod(), rel=0.06)
    edges = np.sort(np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)[1].reshape(-1, 3)[:, [[0, 1], [1, 2], [2, 0]]], axis=-1)
    _, shared = np.unique(edges.reshape(-1, 2), axis=0, return_counts=True)
    assert (shared == 2).all()


def test_what_cannot_be_exported_is_said(tmp_path):
    with pytest.raises(InputError, match="surface is that of a volume"):
        export(solved(letter_f(16)), tmp_path / "o.stl")
    with pytest.raises(InputError, match="expected one of vti, vts"):
        export(solved(letter_f(16)), tmp_path / "o.ply")
    empty = solved(ball(16))
    with pytest.raises(InputError, match="0 everywhere"):
        export(replace(empty, image=0 * empty.image), tmp_path / "o.stl")
    with pytest.raises(InputError, match="triangles"):
        write_stl(tmp_path / "o.stl", np.full((3, 3), np.nan), np.array([[0, 1, 2]]))
    assert not list(tmp_path.iterdir())


def exited(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code or 0


def test_the_command_writes_beside_the_result_and_replaces_nothing_unasked(tmp_path, capsys):
    solved(ball(16)).save(tmp_path / "run")
    assert exited(["export", str(tmp_path / "run"), "--to", "stl"]) == 0
    assert (tmp_path / "run" / "object.stl").is_file() and "written:" in capsys.readouterr().out
    for arguments, words in [
        (["--to", "stl"], "exists; choose another name"),
        ([], "export to what"),
        (["--to", "vti", "-o", str(tmp_path / "x.stl")], "ends in .vti"),
    ]:
        assert exited(["export", str(tmp_path / "run"), *arguments]) == 2 and words in capsys.readouterr().err
    assert exited(["export", str(tmp_path / "run"), "-o", str(tmp_path / "x.tif")]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"run", "x_magnitude.tif", "x_phase.tif"}
