"""A letter F and a delta keep their place and their orientation on every way through untwin: odd, even and mixed sizes, 2D and 3D."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import torch
from skimage.io import imread

import untwin as ut
from samples import close, problem, run, state
from test_show import LETTER, solved
from untwin import fourier
from untwin.data.cxi import write_pattern
from untwin.data.dataset import simulated
from untwin.data.image import read_image, write_image
from untwin.runs.archive import load
from untwin.show.object import plot_object
from untwin.show.pattern import plot_pattern
from untwin.show.style import encoded

EVEN = [(32, 36), (16, 20, 18)]
SHAPES = [*EVEN, (33, 31), (36, 27), (17, 16, 15)]


def letter(shape: tuple[int, ...]) -> np.ndarray:
    """An F above and left of the middle; in 3D in one plane, its stem in the next. No flip, turn or transposition leaves it as it is."""
    rows = np.array([[c == "#" for c in line] for line in LETTER])
    image = np.zeros(shape)
    place = tuple(slice(n // 2 - k, n // 2 - k + m) for n, k, m in zip(shape[-2:], (5, 4), rows.shape))
    if len(shape) == 2:
        image[place] = rows
    else:
        image[(shape[0] // 2, *place)] = rows
        image[(shape[0] // 2 + 1, *place)][:, 0] = 1
    return image


def written(path: Path, a: np.ndarray) -> Path:
    match path.suffix:
        case ".npy":
            np.save(path, a)
        case ".npz":
            np.savez(path, intensity=a)
        case ".tif":
            tifffile.imwrite(path, a, photometric="minisblack")
        case ".h5":
            with h5py.File(path, "w") as file:
                file["entry/data"] = a
    return path


@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
@pytest.mark.parametrize("ending", [".npy", ".npz", ".tif", ".h5"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_bright_pixel_and_a_bad_one_stay_where_they_are(tmp_path, shape, ending):
    """From the detector's file into a Pattern, into a CXI file, and into the picture of it; relative to the zero frequency."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(30, shape).astype(np.float32)
    centre, bright, bad = (tuple(n // 2 + k for n, k in zip(shape, by)) for by in ((1, -1, 0), (3, -2, 4), (-4, 1, 2)))
    counts[bright] = 1000
    mask = np.zeros(shape, np.uint8)
    mask[bad] = 1
    np.save(tmp_path / "mask.npy", mask)
    p = ut.read(written(tmp_path / f"d{ending}", counts), centre=centre, mask=tmp_path / "mask.npy")
    stored = ut.read(write_pattern(tmp_path / "p.cxi", p, process={}))
    for q in (p, stored):
        seen = np.fft.fftshift(q.intensity)
        to = tuple(b - c + n // 2 for b, c, n in zip(bright, centre, q.shape))
        assert np.unravel_index(seen.argmax(), q.shape) == to and seen[to] == 1000
        assert not np.fft.fftshift(q.measured)[tuple(b - c + n // 2 for b, c, n in zip(bad, centre, q.shape))]
        drawn = plot_pattern(q).axes[0].get_images()[0].get_array()
        np.testing.assert_array_equal(drawn.data, seen if len(shape) == 2 else seen[seen.shape[0] // 2])
    with h5py.File(tmp_path / "p.cxi") as file:
        np.testing.assert_array_equal(file["/entry_1/data_1/data"][()], seen)


@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
@pytest.mark.parametrize("shape, ending", [*((s, ".cxi") for s in SHAPES), *((s, e) for s in EVEN for e in (".npy", ".tif"))], ids=str)
def test_the_letter_goes_through_everything_upright(tmp_path, shape, ending):
    """Detector's file, solver with a known start, result, loaded Solution, figure, exported PNG."""
    d, truth = len(shape), letter(shape)
    wave = torch.from_numpy(truth * np.exp(0.1j * np.arange(shape[-1])))
    x = fourier.cornered(wave, d)
    intensity = 100 * ut.physics.FarField(d)(x).numpy()
    if ending == ".cxi":
        write_pattern(tmp_path / "p.cxi", simulated(intensity, np.ones(shape, bool)), process={})
    else:
        written(tmp_path / f"p{ending}", np.fft.fftshift(intensity).astype(np.float32))
    p = ut.read(tmp_path / f"p{ending}", **({} if ending == ".cxi" else {"centre": tuple(n // 2 for n in shape)}))
    assert p.shape == shape
    rng = np.random.default_rng(1)
    support = x.abs() > 0
    start = x * 10 * torch.from_numpy(1 + 0.3 * rng.normal(size=shape))
    after = run(problem(p), ut.parse("20*ER"), state(start[None], support))
    image = fourier.centred(problem(p).project_object(after.image, after.support)[0], d)
    assert close(image.abs(), 10 * torch.from_numpy(truth)) < 0.1
    turned = [image.flip(k) for k in ((-1,), (-2,), (-2, -1), (0,))]
    assert all(close(t.abs(), 10 * torch.from_numpy(truth)) > 0.5 for t in turned)

    found = replace(solved(truth), pattern=p, image=image.to(torch.complex64), support=torch.from_numpy(truth > 0))
    found.save(tmp_path / "run")
    np.testing.assert_array_equal(ut.read_object(tmp_path / "run" / "result.cxi").image, found.image.numpy())
    with h5py.File(tmp_path / "run" / "result.cxi") as file:
        np.testing.assert_array_equal(file["/entry_1/data_1/data"][()], found.image.numpy())
        np.testing.assert_array_equal(file["/entry_1/image_1/support"][()], truth > 0)
        np.testing.assert_array_equal(file["/entry_1/instrument_1/detector_1/data"][()], np.fft.fftshift(p.intensity))
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.image.numpy(), found.image.numpy())
    np.testing.assert_array_equal(again.pattern.intensity, p.intensity)

    figure = plot_object(again)
    magnitude = np.abs(again.image.numpy())
    drawn = [np.asarray(i.get_array()) for axis in figure.axes for i in axis.get_images()]
    planes = [magnitude] if d == 2 else [magnitude[shape[0] // 2]]
    for plane in planes:
        assert any(a.shape == plane.shape and np.allclose(a, plane, rtol=1e-5) for a in drawn)
    if d == 2 and ending == ".cxi":
        seen, inside = exported(figure, shape)
        right = np.corrcoef(seen[inside], magnitude[inside])[0, 1]
        assert right > 0.95, "the PNG shows the array as it is printed"


def exported(figure, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What the PNG of a figure shows at each pixel of the array in its first axes, and which of them it shows."""
    png = imread(io.BytesIO(encoded(figure, "png")))[..., :3].mean(-1)
    figure.canvas.draw()
    axis = figure.axes[0]
    rows, columns = np.indices(shape)
    at = axis.transData.transform(np.stack([columns.ravel(), rows.ravel()], 1)) * len(png) / figure.bbox.height
    (left, right), (low, high) = sorted(axis.get_xlim()), sorted(axis.get_ylim())
    inside = (columns > left) & (columns < right) & (rows > low) & (rows < high)
    j, i = np.clip(at[:, 0].astype(int), 0, png.shape[1] - 1), np.clip((len(png) - at[:, 1]).astype(int), 0, len(png) - 1)
    return png[i, j].reshape(shape), inside


@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) == 2], ids=str)
@pytest.mark.parametrize("ending", [".png", ".npy", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_keeps_the_letter_and_its_colours(tmp_path, shape, ending, channels):
    values = np.stack([letter(shape) * (k + 1) / 3 for k in range(channels)])
    path = tmp_path / f"i{ending}"
    if ending == ".png":
        write_image(path, values)
    else:
        a = np.moveaxis(values, 0, -1).astype(np.float32)
        a = a[..., 0] if channels == 1 else a
        np.save(path, a) if ending == ".npy" else tifffile.imwrite(path, a, photometric="rgb" if channels == 3 else "minisblack")
    np.testing.assert_allclose(read_image(path).values, values, atol=1 / 255)
