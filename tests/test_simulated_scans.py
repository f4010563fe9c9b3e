"""Simulated scans about a Bragg peak: what every pixel counts, where the peak lies, and that the truth is the truth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from untwin import cli
from untwin.bragg.beamlines import TABLE
from untwin.data.measurement import is_sound
from untwin.errors import InputError
from untwin.simulate import Polygon, RockingScan
from untwin.simulate.camera import blurred
from untwin.simulate.facets import corners, unit_vectors
from untwin.simulate.scan import FINE, each_q, intensity
from untwin.simulate.scan import wave as wave_of
from untwin.simulate.stations import STATIONS
from untwin.simulate.truth import Crystal

SMALL = RockingScan(size=90e-9, window=(40, 40), frames=31, offset=(2, -3.0, 1.5))  # a crystal in few voxels


def wave(crystal: Crystal, q: np.ndarray, points: np.ndarray, cell: float) -> np.ndarray:
    """F at wave vectors (n, 3), summed over points (m, 3) one by one."""
    image = crystal.image(points) * cell
    return np.exp(-1j * ((q - crystal.q) @ points.T)) @ image


def box(crystal: Crystal, fine: float) -> tuple[np.ndarray, float]:
    """Points of a cubic grid around the crystal, which knows nothing of the scan, and the volume of a cell."""
    reach = np.abs(corners(crystal.facets)).max(0) + 5 * crystal.roughness
    axes = [np.arange(-r, r + fine, fine) for r in reach]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3), fine**3


def pixels(scan: RockingScan, count: int, seed: int = 0) -> np.ndarray:
    """(count, 3): half anywhere, half near the peak."""
    g = np.random.default_rng(seed)
    anywhere = g.integers(0, scan.shape, (count // 2, 3))
    near = np.round(scan.peak).astype(int) + g.integers(-4, 5, (count - count // 2, 3))
    return np.concatenate([anywhere, near])


@pytest.mark.parametrize("dislocation", [False, True], ids=["smooth", "screw"])
@pytest.mark.parametrize("key", ["34idc", "sixs", "id27"])
def test_every_pixel_has_the_wave_that_a_direct_sum_gives(key, dislocation):
    """To 1e-6 of the peak where the sum runs over the same points; to 5e-4 over those of another grid (a dislocation asks more)."""
    from untwin.simulate import ewald

    scan = replace(SMALL, beamline=key, dislocation=dislocation)
    crystal, i, at = scan.crystal(), scan.instrument(), pixels(scan, 80)
    q = np.array([i.q(n, np.asarray(r), np.asarray(c), scan.peak[0]) for n, r, c in at])
    own = np.sqrt(intensity(crystal, i, scan.peak, scan.shape))
    grid = ewald.cells(corners(crystal.facets), i.sampling(*scan.peak), FINE, 5 * crystal.roughness)
    same = np.abs(wave(crystal, q, grid.points.reshape(-1, 3), grid.volume))
    other = np.abs(wave(crystal, q, *box(crystal, 2e-9)))
    assert np.abs(own[tuple(at.T)] - same).max() < 1e-6 * own.max()
    assert np.abs(own[tuple(at.T)] - other).max() < 5e-4 * own.max()


def centre(weights: np.ndarray) -> np.ndarray:
    """(3,) centre of mass, pixels."""
    return np.array(
        [(weights.sum(tuple(b for b in range(3) if b != a)) @ np.arange(n)) / weights.sum() for a, n in enumerate(weights.shape)]
    )


def core(e: np.ndarray) -> np.ndarray:
    """What lies above a third of the maximum: the wings reach beyond the window."""
    return np.maximum(e - e.max() / 3, 0)


def mean_q(scan: RockingScan, weights: np.ndarray) -> np.ndarray:
    """(3,) rad/m: of the pixels, weighted; the crystal as it stands at the peak."""
    q = np.array(list(each_q(scan.instrument(), scan.peak[0], scan.shape)))
    return np.einsum("nij,nijk->k", weights, q) / weights.sum()


@pytest.mark.parametrize("key", TABLE)
def test_a_perfect_crystal_has_its_peak_where_the_scan_says(key):
    scan = replace(SMALL, beamline=key, strain=0.0).ideal()
    drawn, truth = scan.draw()
    assert np.abs(centre(core(truth.expected)) - scan.peak).max() < 0.05
    i = drawn.instrument
    assert i.diffractometer is TABLE[key] and is_sound(i.geometry(*scan.peak))
    assert np.allclose(truth.q, i.q(*(np.asarray(p) if k else p for k, p in enumerate(scan.peak)), scan.peak[0]))  # type: ignore[arg-type]


def test_every_beamline_of_the_table_can_be_simulated_with_its_field_of_view():
    assert set(STATIONS) == set(TABLE)
    for key in TABLE:
        scan = RockingScan(key)
        geometry = scan.instrument().geometry(*scan.peak)
        extent = np.ptp(corners(scan.crystal().facets) @ np.array(geometry.sampling).T / (2 * np.pi), axis=0)
        assert (1 / extent > 3).all() and (1 / extent < 6).all(), key
        voxels = geometry.voxel_size(scan.shape)
        assert voxels is not None and all(9e-9 < v < 16e-9 for v in voxels), key
        assert scan.station.rocking in [c.name for c in TABLE[key].sample]


@pytest.mark.parametrize("key", ["34idc", "nanomax", "id27"])
def test_tension_along_q_moves_the_peak_to_smaller_q(key):
    scan = replace(SMALL, beamline=key, strain=0.0, offset=(0, 0.0, 0.0))
    peaks = []
    for tension in (0.0, 5e-4):
        strained = replace(scan, tension=tension).crystal()
        peaks.append(mean_q(scan, core(intensity(strained, scan.instrument(), scan.peak, scan.shape))))
    q = scan.crystal().q
    assert np.allclose(peaks[1] - peaks[0], -5e-4 * q, atol=2e-5 * np.linalg.norm(q))


@pytest.mark.parametrize("key", TABLE)
def test_a_lattice_of_another_q_has_its_peak_in_another_frame_row_and_column(key):
    """A linear u is a lattice with Q − |Q| g: by so many steps of the sampling its peak moves."""
    scan = replace(SMALL, beamline=key, strain=0.0).ideal()
    crystal, i = scan.crystal(), scan.instrument()
    by = np.array([-3.0, 2.0, 4.0])
    g = -(by @ i.sampling(*scan.peak)) / np.linalg.norm(crystal.q)
    turned = replace(crystal, field=replace(crystal.field, linear=g))
    before, after = (core(intensity(c, i, scan.peak, scan.shape)) for c in (crystal, turned))
    assert np.abs(centre(after) - centre(before) - by).max() < 0.1


def test_the_transform_of_the_waves_is_the_crystal_with_its_strain():
    """The wave at the pixels, its inverse transform, −phase / |Q|, differences of neighbours: 3.5e-5 and less where the strain is 3e-4."""
    scan = RockingScan(size=220e-9, frames=81, window=(80, 80), offset=(0, 0.0, 0.0))
    crystal, i = scan.crystal(), scan.instrument()
    scattered = wave_of(crystal, i, scan.peak, scan.shape)
    far = np.array([scattered(q - crystal.q) for q in each_q(i, scan.peak[0], scan.shape)])
    image = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(far)))
    vectors = i.geometry(*scan.peak).voxel_vectors(scan.shape)
    assert vectors is not None
    index = np.stack(np.indices(scan.shape), -1) - np.array(scan.shape) // 2
    points, length = index @ vectors, np.linalg.norm(crystal.q)
    deep = crystal.depth(points) > 25e-9
    against = np.exp(1j * length * crystal.displacement(points)) * image
    against *= np.conj(against[deep].mean())
    assert deep.sum() > 500 and np.abs(np.angle(against[deep])).max() < 0.1
    along = np.linalg.inv(vectors.T) @ unit_vectors(crystal.q)
    steps = [np.angle(np.roll(image, -1, a) * np.conj(np.roll(image, 1, a))) / 2 for a in range(3)]
    strain = -sum(c * s for c, s in zip(along, steps)) / length
    difference = (strain - crystal.strain(points))[deep]
    assert difference.std() < 5e-5 and abs(difference.mean()) < 1e-5
    assert np.corrcoef(strain[deep], crystal.strain(points)[deep])[0, 1] > 0.97


@pytest.mark.parametrize("dislocation", [False, True], ids=["smooth", "screw"])
def test_the_strain_of_the_truth_is_the_derivative_of_its_displacement(dislocation):
    crystal = RockingScan(dislocation=dislocation, tension=1e-4, seed=2).crystal()
    points = np.random.default_rng(1).uniform(-120e-9, 120e-9, (4000, 3))
    points = points[crystal.inside(points)]
    h, q = 1e-11, unit_vectors(crystal.q)
    turn = np.linalg.norm(crystal.q) / (2 * np.pi)
    step = (crystal.displacement(points + h * q) - crystal.displacement(points - h * q)) * turn
    numeric = (step - np.round(step)) / turn / (2 * h)
    far = np.ones(len(points), bool) if crystal.screw is None else crystal.screw.distance(points) > 3e-9
    assert np.abs(numeric - crystal.strain(points))[far].max() < 1e-6


def test_a_screw_dislocation_winds_the_phase_of_the_image_once_backwards():
    crystal = replace(RockingScan(dislocation=True, strain=0.0, surface=0.0).crystal())
    line = crystal.screw
    assert line is not None
    e = unit_vectors(np.cross(line.line, crystal.q))
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)[:, None]
    ring = line.point + 20e-9 * (np.cos(turn) * e + np.sin(turn) * np.cross(line.line, e))
    phase = np.angle(crystal.image(ring))
    assert np.isclose(np.angle(np.exp(1j * np.diff(np.append(phase, phase[0])))).sum(), -2 * np.pi)
    assert np.isclose(line.line @ unit_vectors(crystal.q), np.sqrt(2 / 3))  # 110 and 111


@pytest.mark.parametrize("seed", range(3))
def test_a_crystal_has_the_size_and_the_strain_that_were_asked_for(seed):
    scan = RockingScan(size=200e-9, strain=5e-4, seed=seed)
    crystal = scan.crystal()
    points, cell = box(crystal, 4e-9)
    inside = crystal.inside(points)
    assert np.isclose(crystal.density(points).sum() * cell, np.pi / 6 * 200e-9**3, rtol=0.01)
    assert np.isclose(crystal.strain(points)[inside].std(), 5e-4, rtol=0.05)
    assert np.abs(crystal.density(points) - inside)[np.abs(crystal.depth(points)) > 12e-9].max() < 1e-6
    gradient = np.linalg.lstsq(np.c_[points[inside], np.full(inside.sum(), 1e-7)], crystal.displacement(points)[inside], rcond=None)[0]
    assert np.linalg.norm(gradient[:3]) < 2e-5  # nothing linear is left: Q is where it was


def test_a_layer_at_the_facets_is_strained_more_than_the_bulk():
    crystal = RockingScan(surface=0.9).crystal()
    points, _ = box(crystal, 5e-9)
    depth, strain = crystal.depth(points), crystal.strain(points)
    assert strain[(depth > 0) & (depth < 10e-9)].std() > 2 * strain[depth > 60e-9].std()


def test_counts_are_poisson_about_what_pixel_beam_and_background_make_of_the_light():
    scan = replace(SMALL, counts=1e6, dark=False, background=0.5)
    drawn, truth = scan.draw()
    counts = np.array([drawn.frames.load(n) for n in range(drawn.frames.shape[0])])
    mean = truth.sensitivity * truth.beam[:, None, None] * (truth.expected + 0.5)
    good = np.broadcast_to(~truth.bad, mean.shape)
    deviation = ((counts - mean) ** 2 / mean)[good & (mean > 0.2)]
    assert np.isclose(truth.expected.sum(), 1e6, rtol=1e-5) and np.isclose(truth.sensitivity[~truth.bad].mean(), 1, atol=0.1)
    assert abs(deviation.mean() - 1) < 6 * np.sqrt(5 / len(deviation))  # variance of the terms: 2 + 1 / mean <= 5 at most
    assert np.abs(drawn.monitor / drawn.monitor.mean() - truth.beam).max() < 1e-4  # type: ignore[operator]


def test_the_flat_and_the_dark_field_show_the_pixels_of_the_camera():
    scan = replace(SMALL, beamline="id01", window=(128, 128), frames=9, offset=(0, 0.0, 0.0), hot=2e-3, dead=2e-3)
    drawn, truth = scan.draw()
    assert drawn.window is not None and drawn.flat is not None and drawn.dark is not None
    first, rows, left, columns = drawn.window
    cut = (slice(first, first + rows), slice(left, left + columns))
    assert drawn.flat.shape == drawn.dark.shape == (516, 516)
    flat = drawn.flat[cut] / drawn.flat[drawn.flat > 0].mean()
    assert np.abs(flat - truth.sensitivity)[~truth.bad].max() < 0.06
    even = drawn.flat[(drawn.flat > 0) & (drawn.dark < 5)]
    assert np.isclose(even.std() / even.mean(), 0.12, atol=0.01)
    frame = drawn.frames.load(0)
    gap = STATIONS["id01"].camera.gaps()[cut]
    assert gap.any() and not frame[gap].any() and truth.bad[gap].all()
    hot = truth.bad & (drawn.dark[cut] > 500)
    assert hot.any() and np.abs(frame[hot] / drawn.dark[cut][hot] - 1).max() < 0.3
    dead = truth.bad & ~hot
    assert (dead & ~gap).any() and not frame[dead].any()


def test_a_camera_that_marks_its_gaps_says_so():
    drawn, truth = replace(SMALL, beamline="p10", window=(100, 60)).draw()
    bad = drawn.frames.bad
    assert bad is not None and bad.any() and (drawn.frames.load(3)[bad] == 2**32 - 1).all() and truth.bad[bad].all()
    assert drawn.frames.load(3)[~truth.bad].max() < 1e6


def test_partial_coherence_lowers_a_fringe_by_its_factor():
    n, sigma = 60, 0.5
    at = np.arange(n) + 0.5
    for period in (4.0, 10.0):
        fringe = 1 + np.cos(2 * np.pi * at / period)
        out = blurred(np.broadcast_to(fringe[:, None, None], (n, 4, 5)).copy(), (sigma, 0.7, 0.2))
        assert np.allclose(out[:, 1, 1], 1 + np.exp(-2 * (np.pi * sigma / period) ** 2) * (fringe - 1))
    assert blurred(fringe, (0.0,)) is fringe


def test_another_crystal_lies_aside_with_its_brightness():
    alone, both = (replace(SMALL, aliens=n, alien=3.0, noise=False, dark=False, hot=0.0, spread=0.0, monitor=0.0) for n in (0, 1))
    clean, seen = (np.array([s.frames.load(n) for n in range(31)]) for s in (alone.draw()[0], both.draw()[0]))
    extra = seen - clean
    at = np.unravel_index(extra.argmax(), extra.shape)
    assert 2 < extra.max() / clean.max() < 3.01
    assert max(abs(a - n // 2) / (n // 2) for a, n in zip(at, extra.shape)) > 0.6


def test_a_seed_is_one_crystal_and_one_scan():
    a, b, other = replace(SMALL), replace(SMALL), replace(SMALL, seed=1)
    assert np.array_equal(a.draw()[0].frames.load(15), b.draw()[0].frames.load(15))
    assert not np.allclose(a.crystal().facets.heights, other.crystal().facets.heights, rtol=1e-3, atol=0)
    brighter = replace(SMALL, counts=1e9, frames=41, spread=0.0).crystal()
    assert np.array_equal(a.crystal().facets.heights, brighter.facets.heights)  # the camera and the exposure change no crystal


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beamline": "34idx"}, r"beamline '34idx' is not known.*34idc"),
        ({"counts": -1}, r"RockingScan\(counts=-1\): expected a number, 1 to 1e\+12"),
        ({"size": 300}, r"size=300\): expected a number, 2e-08 to 5e-06"),
        ({"frames": 1}, r"frames=1\): expected a whole number, 8 or more"),
        ({"body": Polygon(5)}, r"body=Polygon\(sides=5\)\): expected a body with facets in three dimensions"),
        ({"window": (128,)}, r"window=\(128,\)\): expected 2 numbers"),
        ({"offset": (0.5, 0, 0)}, r"a whole number of frames"),
        ({"offset": (0, 70, 0)}, r"expected a peak inside"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        RockingScan(**settings)


def test_a_window_beside_the_camera_is_refused():
    with pytest.raises(InputError, match="does not lie on the camera"):
        RockingScan(window=(300, 128)).draw()


def test_the_command_writes_a_scan_and_its_truth_or_nothing(tmp_path, monkeypatch, capsys):
    scans = {}

    def write_scan(folder, key, scan):
        scans[key] = scan
        (folder / "log").write_text("angles")
        if key == "cristal":
            raise InputError("no writer")
        return (folder / "log",)

    monkeypatch.setattr("untwin.simulate.beamline_files.write_scan", write_scan)
    monkeypatch.chdir(tmp_path)
    options = "--diameter 90 --size 40,40 --frames 21 --dislocation --seed 3"
    cli.app(f"simulate scan -o new --beamline id01 {options}".split(), result_action="return_value")
    assert scans["id01"].frames.shape == (21, 40, 40) and {p.name for p in (tmp_path / "new").iterdir()} == {"log", "truth.npz"}
    crystal = RockingScan("id01", size=90e-9, window=(40, 40), frames=21, dislocation=True, seed=3).crystal()
    with np.load(tmp_path / "new" / "truth.npz") as stored:
        index = np.argwhere(stored["support"])
        points = index @ stored["vectors"] + stored["origin"]
        assert crystal.inside(points).all()
        assert np.allclose(stored["strain"][stored["support"]], crystal.strain(points), atol=1e-7)
        assert np.allclose(stored["image"][stored["support"]], crystal.image(points), atol=1e-5)
        assert np.allclose(stored["core"][stored["support"]], crystal.screw.distance(points))  # type: ignore[union-attr]
        assert "-q.u" in json.loads(str(stored["settings"]))["convention"]
    drawn = RockingScan.draw
    monkeypatch.setattr(RockingScan, "draw", lambda self: drawn(self) if self.key == "cristal" else pytest.fail("drawn too early"))
    for again, why in (
        ("-o new", "is no empty folder"),
        ("-o other --beamline cristal", "no writer"),
        ("-o other --beamline bm02", "beamline 'bm02': what it writes is not known"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(f"simulate scan {again} {options}".split())
        assert stop.value.code == 2 and why in capsys.readouterr().err
        assert [p.name for p in tmp_path.iterdir()] == ["new"]
