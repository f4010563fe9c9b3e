"""Simulated objects: their physics, their parameters, and that sample i is a function of (recipe, seed, i)."""

from __future__ import annotations

import itertools
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial import Delaunay

from untwin.errors import InputError
from untwin.model.alignment import align
from untwin.simulate.bodies import Blob, Hull, Polygon, Polyhedron, Wulff
from untwin.simulate.composites import Joined, Mix, Notched
from untwin.simulate.crystals import PARTS, RECIPES, Copies, Simulation, crystal, simulation
from untwin.simulate.defects import Dislocations, Faults, Twin, dislocation
from untwin.simulate.density import Texture
from untwin.simulate.detector import Detector, Total
from untwin.simulate.domains import Domains
from untwin.simulate.facets import Facets, corners, fit_to_box
from untwin.simulate.fields import gaussian_field
from untwin.simulate.grid import PixelGrid
from untwin.simulate.scene import Part, Scene
from untwin.simulate.settings import Between, OneOf
from untwin.simulate.strain import Bend, Gratings, Relaxation, Tilt, Waves
from untwin.simulate.streams import Streams

QUIET = Detector(Total(1e6), noise=False)


def small(name: str) -> Simulation:
    """The recipe on an array small enough for tests, of odd sizes."""
    base = RECIPES[name]
    return base if len(base.shape) == 2 else replace(base, shape=(33, 36, 35))


def same(a, b, row: int) -> bool:
    return (
        all(torch.equal(getattr(a, k)[row], getattr(b, k)[0]) for k in ("image", "support", "intensity", "measured"))
        and a.labels[row] == b.labels[0]
    )


def scene_of(body, parts, shape=(64, 64), seed=0, count=4, oversampling=2.0) -> Scene:
    """The scene behind samples, for a look at the phase before it is wrapped."""
    streams, grid = Streams(seed, range(count)), PixelGrid(shape)
    half = np.tile(np.array(shape) / (2 * oversampling) - 0.5, (count, 1))
    scene = Scene.of(grid, body.place(grid, half, streams), half, streams)
    for part in parts:
        part.add(scene, streams)
    return scene


# Samples


@pytest.mark.parametrize("name", RECIPES)
def test_a_sample_has_the_same_bits_alone_and_in_any_batch(name):
    recipe = small(name)
    count = 5 if len(recipe.shape) == 2 else 3
    together = recipe.draw(11, range(count))
    for i in range(count):
        assert same(together, recipe.draw(11, [i]), i)
    assert same(recipe.draw(11, [count + 7, 2]), recipe.draw(11, [2]), 1)
    assert not torch.equal(together.intensity[0], together.intensity[1])
    assert not torch.equal(together.intensity[0], recipe.draw(12, [0]).intensity[0])


@pytest.mark.parametrize("shape", [(63, 65), (31, 47)])
def test_odd_sizes_and_threads_do_not_change_a_bit(shape):
    recipe = simulation("crystals-2d", shape=shape)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        together = recipe.draw(3, range(9))
    finally:
        torch.set_num_threads(threads)
    assert all(same(together, recipe.draw(3, [i]), i) for i in (0, 4, 8))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_its_text(name):
    recipe = RECIPES[name]
    assert simulation(repr(recipe)) == recipe == simulation(name)


@pytest.mark.parametrize("name", RECIPES)
def test_samples_are_what_they_say(name):
    recipe = small(name)
    s = recipe.draw(5, range(3))
    assert s.image.shape == (3, *recipe.shape) and s.image.dtype == torch.complex64 and s.image.isfinite().all()
    assert torch.equal(s.support, s.image != 0) and s.support.flatten(1).any(1).all()
    assert s.intensity.dtype == torch.float32 and (s.intensity >= 0).all() and not s.intensity[~s.measured].any()
    assert json.loads(json.dumps(s.labels)) == s.labels and [x["index"] for x in s.labels] == [0, 1, 2]
    for x, label in zip(s.support.numpy(), s.labels, strict=True):
        width = np.ptp(np.argwhere(x), axis=0) + 1
        assert (width <= np.ceil(np.array(label["extent"])) + 2 * (name.startswith("cdi"))).all()
    if recipe.real:
        assert (s.image.real >= 0).all() and not s.image.imag.any()


@pytest.mark.parametrize("name", [n for n in RECIPES if not n.startswith("cdi")])
def test_the_autocorrelation_fits_the_array(name):
    recipe = replace(small(name), detector=QUIET)
    s = recipe.draw(6, range(3))
    for x, pattern in zip(s.support.numpy(), s.intensity.numpy(), strict=True):
        assert (np.ptp(np.argwhere(x), axis=0) + 1 <= np.array(recipe.shape) / 2).all()
        a = np.abs(np.fft.fftshift(np.fft.ifftn(pattern)))
        width = np.ptp(np.argwhere(x), axis=0)
        outside = np.ones(a.shape, dtype=bool)
        outside[tuple(slice(n // 2 - w, n // 2 + w + 1) for n, w in zip(a.shape, width, strict=True))] = False
        assert outside.any() and a[outside].max() < 1e-5 * a.max()


# Bodies


@pytest.mark.parametrize("body, shape", [(Polygon(Between(3, 9)), (64, 64)), (Wulff(), (36, 36, 36)), (Polyhedron(), (36, 36, 36))])
def test_a_convex_body_touches_its_box_and_is_convex(body, shape):
    s = scene_of(body, (), shape)
    for d in s.outlines.distance:
        inside = s.grid.points[:, d < 0].numpy().T
        width = np.ptp(inside, axis=0) + 1
        assert width.max() >= max(shape) / 2 - 4 and (width <= np.array(shape) / 2).all()
        hull = Delaunay(inside[:: max(1, len(inside) // 4000)])
        outside = s.grid.points[:, (d > 1.0) & (s.grid.points[0].abs() < 1000)].numpy().T
        assert not (hull.find_simplex(outside) >= 0).any()


def test_corners_are_where_the_facets_meet():
    square = Facets(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), np.array([1.0, 2, 3, 4]))
    assert sorted(map(tuple, corners(square).round(9).tolist())) == [(-2, -4), (-2, 3), (1, -4), (1, 3)]
    f = fit_to_box(square, np.array([10.0, 10.0]))
    assert corners(f).max(0).round(6).tolist() == [round(30 / 7, 6), 10] and corners(f).min(0).round(6).tolist() == [round(-30 / 7, 6), -10]


def test_wulff_facets_stand_at_their_energies_and_a_substrate_cuts_one_off():
    g = np.random.default_rng(1)
    frame = np.eye(3)
    f = Wulff(gamma_100=1.2, gamma_110=1.3, jitter=0.0).facets(g, frame)
    inner = np.abs(f.normals).max(1)
    assert np.allclose(f.heights[np.isclose(inner, 1)], 1.2) and np.allclose(f.heights[np.isclose(inner, 1 / 3**0.5)], 1)
    assert np.allclose(f.heights[np.isclose(inner, 1 / 2**0.5)], 1.3) and len(f.heights) == 26
    cut = Wulff(jitter=0.0, substrate=1.0).facets(g, frame)
    assert (cut.heights < 0.61).sum() == 1


@pytest.mark.parametrize("body", [Notched(Polygon(5)), Joined(Polygon(5)), Notched(Wulff()), Joined(Polyhedron())])
def test_notched_and_joined_bodies_are_not_convex(body):
    from skimage.morphology import convex_hull_image

    shape = (64, 64) if "Polygon" in repr(body) else (36, 36, 36)
    s = scene_of(body, (), shape, count=6)
    share = []
    for d in s.grid.array(s.outlines.distance).numpy():
        inside = d < 0
        assert inside.any() and (np.ptp(np.argwhere(inside), axis=0) + 1 <= np.array(shape) / 2).all()
        share.append(inside.sum() / convex_hull_image(inside).sum())
    assert np.median(share) < 0.93


def test_a_mix_holds_every_kind():
    s = scene_of(Mix((Polygon(3), Polygon(8)), (1.0, 3.0)), (), count=200)
    many = np.mean([len(label["heights"]) == 8 for label in s.labels])
    assert 0.65 < many < 0.85


def test_a_facet_gives_a_streak_along_its_normal():
    recipe = Simulation(Polygon(3), (), (128, 128), 4.0, QUIET)
    for seed in range(4):
        s = recipe.draw(seed, [0])
        p = np.fft.fftshift(s.intensity[0].numpy())
        ky, kx = np.indices(p.shape) - 64
        ring = (np.hypot(ky, kx) > 20) & (np.hypot(ky, kx) < 45)
        angle = np.degrees(np.arctan2(kx, ky)) % 180
        power, _ = np.histogram(angle[ring], 60, (0, 180), weights=p[ring])
        facets = Facets(np.array(s.labels[0]["normals"]), np.array(s.labels[0]["heights"]))
        points = corners(facets)
        for normal, height in zip(facets.normals, facets.heights, strict=True):
            on = points[np.abs(points @ normal - height) < 1e-2]
            if np.ptp(on, axis=0).max() < 10:
                continue  # a short facet has a faint streak
            at = np.degrees(np.arctan2(normal[1], normal[0])) % 180
            near = [power[int(at / 3 + k) % 60] for k in (-1, 0, 1)]
            assert max(near) > 4 * np.median(power)


def test_a_blob_is_one_piece_inside_its_box():
    for shape in ((64, 64), (32, 32, 32)):
        s = scene_of(Blob(0.12), (), shape)
        for d in s.grid.array(s.outlines.distance).numpy():
            assert ndimage.label(d < 0)[1] == 1 and (np.ptp(np.argwhere(d < 0), axis=0) + 1 <= np.array(shape) / 2).all()


# CDI NN


def test_the_cdi_nn_recipe_is_to_the_letter():
    s = replace(RECIPES["cdi-nn"], detector=QUIET).draw(2, range(64))
    scene = scene_of(Hull(Between(3, 12), Between(0.4, 1.0)), (), (32, 32), count=8, oversampling=1.0)
    hull = scene.grid.array((scene.outlines.distance <= 0).double()).numpy()
    magnitude = scene.grid.array(scene.outlines.magnitude).numpy()
    for h, m in zip(hull, magnitude, strict=True):
        assert h.sum() >= 30 and np.abs(ndimage.gaussian_filter(h, 1.0, mode="constant", truncate=4) - m).max() < 1e-4
    spans, wide = [], []
    for x, label in zip(s.image.numpy(), s.labels, strict=True):
        n, h = np.array(label["normals"]), np.array(label["heights"])
        at = np.indices((32, 32)).reshape(2, -1).T - 16
        inside = (at @ n.T <= h + 1e-3).all(1).reshape(32, 32)
        phase = np.angle(x)
        assert not np.abs(phase[~inside & (np.abs(x) > 0)]).max(initial=0) > 1e-5  # hard zero outside the hull
        assert phase[inside].min() >= -np.pi - 1e-5 and np.ptp(phase[inside]) <= label["gratings"]["span"] + 1e-3
        spans.append(np.ptp(phase[inside]))
        wide.append((np.ptp(np.argwhere(inside), axis=0) + 1).max())
    assert max(spans) > 5.5 and np.mean(np.array(wide) > 16) > 0.5  # up to the full circle; mostly under-sampled, as published
    wave = np.fft.fft2(np.fft.ifftshift(s.image[0].numpy()), norm="ortho")
    assert np.allclose(np.abs(wave) ** 2, s.intensity[0].numpy(), rtol=1e-3, atol=1e-3 * float(s.intensity[0].max()))


# Dislocations


def elastic(x, y, axis: int, nu: float, edge=1.0, screw=0.0) -> np.ndarray:
    along = [0.0, 0.0, 0.0]
    along[axis] = 1.0
    value = dislocation(torch.from_numpy(x), torch.from_numpy(y), edge, screw, tuple(along), nu, 1e-6)
    return value.numpy() / (2 * np.pi)


@pytest.mark.parametrize("nu", [0.0, 0.3, 0.42])
def test_an_edge_dislocation_is_in_equilibrium(nu):
    """Navier: (1 − 2ν) ∇²u + ∇(∇·u) = 0 away from the core, by finite differences in float64."""
    h = 1e-3
    at = np.array([(2.0, 1.0), (-3.0, 2.0), (1.5, -2.5), (4.0, 3.0), (0.7, 1.1)])

    def u(axis, dx=0.0, dy=0.0):
        return elastic(at[:, 0] + dx * h, at[:, 1] + dy * h, axis, nu)

    def second(axis, which):
        if which == "xy":
            return (u(axis, 1, 1) - u(axis, 1, -1) - u(axis, -1, 1) + u(axis, -1, -1)) / (4 * h * h)
        dx, dy = (1, 0) if which == "xx" else (0, 1)
        return (u(axis, dx, dy) - 2 * u(axis) + u(axis, -dx, -dy)) / (h * h)

    laplace = [second(a, "xx") + second(a, "yy") for a in (0, 1)]
    divergence = [second(0, "xx") + second(1, "xy"), second(0, "xy") + second(1, "yy")]
    for l, d in zip(laplace, divergence, strict=True):
        assert np.abs((1 - 2 * nu) * l + d).max() < 1e-4 and np.abs(l).max() + np.abs(d).max() > 1e-2


def test_the_displacement_is_the_published_formula():
    """Hirth and Lothe, written out once more in another way (complex numbers), for edge and screw."""
    g = np.random.default_rng(0)
    x, y = g.normal(size=50) * 4, g.normal(size=50) * 4
    nu, b = 0.31, 0.7
    z = x + 1j * y
    angle, r2 = np.angle(z), np.abs(z) ** 2
    two = z**2 / r2  # exp(2iθ)
    ux = b / (2 * np.pi) * (angle + two.imag / (4 * (1 - nu)))
    uy = -b / (2 * np.pi) * ((1 - 2 * nu) / (2 * (1 - nu)) * np.log(np.abs(z)) + two.real / (4 * (1 - nu)))
    assert np.allclose(elastic(x, y, 0, nu, b), ux, atol=1e-6) and np.allclose(elastic(x, y, 1, nu, b), uy, atol=1e-6)
    assert np.allclose(elastic(x, y, 2, nu, b, 0.4), 0.4 * angle / (2 * np.pi))


def winding(phase: np.ndarray) -> float:
    """Sum of the wrapped steps around a closed line of phases, in turns."""
    return float(np.angle(np.exp(1j * np.diff(np.append(phase, phase[0])))).sum() / (2 * np.pi))


@pytest.mark.parametrize("shape", [(64, 64), (48, 48, 48)])
@pytest.mark.parametrize("visible", [1.0, 0.0])
def test_the_phase_around_a_dislocation_winds_by_minus_g_dot_b(shape, visible):
    body = Polygon(6) if len(shape) == 2 else Wulff()
    s = scene_of(body, (Dislocations(1, visible=visible),), shape, count=8, oversampling=1.2)
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    seen = 0
    for label in s.labels:
        line = label["defects"][0]
        e_z, b, q = (np.array(line[k]) for k in ("line", "burgers", "reflection"))
        assert line["winding"] == -round(float(b @ q)) and (line["winding"] != 0) == bool(visible)
        across = np.cross(e_z, (0.3, 0.5, -0.8))
        across /= np.linalg.norm(across)
        up = np.cross(e_z, across)
        for radius in (2.0, 6.0):
            at = radius * (np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * up)
            one = Scene.__new__(Scene)
            one.grid = points_at(at[:, 3 - len(shape) :])
            one.phase = one.magnitude = torch.ones((1, len(turn)))
            Dislocations()._insert(one, [line | {"point": [0.0] * len(shape)}])
            assert winding(one.phase[0].double().numpy()) == pytest.approx(line["winding"], abs=1e-6)
            seen += 1
    assert seen == 16


def points_at(points: np.ndarray) -> PixelGrid:
    grid = PixelGrid((8,) * points.shape[1])
    grid.points, grid.size = torch.from_numpy(points.T.astype(np.float32)), len(points)
    return grid


def test_a_vortex_is_in_the_image_where_the_label_says():
    recipe = Simulation(Polygon(7), (Dislocations(1, visible=1.0),), (96, 96), 2.0, QUIET)
    for seed in range(6):
        s = recipe.draw(seed, [0])
        line = s.labels[0]["defects"][0]
        y0, x0 = (round(v) + 48 for v in line["point"])
        ring = [(-2, k) for k in range(-2, 2)] + [(k, 2) for k in range(-2, 2)]
        ring += [(2, k) for k in range(2, -2, -1)] + [(k, -2) for k in range(2, -2, -1)]
        x = s.image[0].numpy()
        got = winding(np.array([np.angle(x[y0 + a, x0 + b]) for a, b in ring]))
        assert got == pytest.approx(-line["winding"]) and abs(x[y0, x0]) < 0.6 * np.abs(x).max()


# Faults, twins, domains


def test_a_fault_is_a_jump_of_two_thirds_pi_across_its_plane():
    for shape in ((64, 64), (32, 32, 32)):
        s = scene_of(Polygon(6) if len(shape) == 2 else Wulff(), (Faults(1),), shape)
        for row, label in enumerate(s.labels):
            fault = label["defects"][0]
            beyond = (s.grid.points.numpy().T - fault["point"]) @ np.array(fault["normal"]) > 1e-3
            phase = s.phase[row].numpy()
            assert abs(fault["jump"]) == pytest.approx(2 * np.pi / 3)
            before = (s.grid.points.numpy().T - fault["point"]) @ np.array(fault["normal"]) < -1e-3
            assert np.allclose(phase[beyond], fault["jump"]) and np.allclose(phase[before], 0)
            if len(shape) == 3:
                frame, q = np.array(label["frame"]), np.array(label["reflection"])
                n = frame.T @ fault["normal"] * 3**0.5
                assert np.allclose(np.abs(n), 1) and round(float(frame.T @ q @ n)) % 3 != 0
            inside = s.outlines.distance[row].numpy() < 0
            assert (beyond & inside).any() and (~beyond & inside).any()


def test_a_twin_is_dark_on_one_side_and_on_no_more_than_its_share():
    s = scene_of(Polygon(6), (Twin(1.0, 0.4),), count=30)
    for row in range(30):
        whole, left = float(s.outlines.magnitude[row].sum()), float(s.magnitude[row].sum())
        assert 0.55 * whole < left < whole


@pytest.mark.parametrize("body, shape", [(Polygon(8), (64, 64)), (Wulff(), (32, 32, 32))])
def test_voronoi_domains_differ_from_their_neighbours_and_the_middle_is_zero(body, shape):
    s = scene_of(body, (Domains(Between(6, 19)),), shape, count=12)
    for row, label in enumerate(s.labels):
        seeds, phases = np.array(label["defects"][0]["seeds"]), np.array(label["defects"][0]["phases"])
        assert phases[(seeds**2).sum(1).argmin()] == 0 and (np.abs(phases) <= np.pi).all()
        for simplex in Delaunay(seeds).simplices:
            for a, b in itertools.combinations(range(len(simplex)), 2):
                gap = abs(np.angle(np.exp(1j * (phases[simplex[a]] - phases[simplex[b]]))))
                assert gap >= 0.5 - 1e-9
        p = s.grid.points[:, : s.grid.size].numpy().T
        nearest = ((p[:, None] - seeds[None]) ** 2).sum(-1).argmin(1)
        assert np.mean(np.abs(s.phase[row, : s.grid.size].numpy() - phases[nearest]) < 1e-5) > 0.999


def test_inversion_twins_have_two_phases():
    s = scene_of(Polygon(8), (Domains(12, values=2),), count=6)
    for label in s.labels:
        values = {round(p, 6) for p in label["defects"][0]["phases"]}
        assert 0.0 in values and len(values) <= 2


# Smooth strain


def test_a_gaussian_field_has_its_spectrum():
    grid = PixelGrid((128, 128))
    field = grid.array(gaussian_field(grid, np.full(40, 4.0), Streams(0, range(40)))).numpy()
    power = (np.abs(np.fft.fft2(field)) ** 2).mean(0)
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(128, 1 / 128), np.fft.fftfreq(128, 1 / 128)))
    rings = [power[(k > r - 0.5) & (k <= r + 0.5)].mean() for r in (4, 8, 16, 32)]
    slopes = np.diff(np.log2(rings))
    assert np.allclose(slopes, -4, atol=0.35)


def test_waves_have_their_rms_inside_the_body():
    s = scene_of(Polygon(6), (Waves(1.7, 5.0),))
    for row in range(4):
        w = s.outlines.magnitude[row].double()
        p = s.phase[row].double()
        mean = (p * w).sum() / w.sum()
        assert float(((p - mean).square() * w).sum() / w.sum()) ** 0.5 == pytest.approx(1.7, rel=1e-4) and abs(float(mean)) < 1e-4


def test_relaxation_lies_along_the_normal_and_fades_with_depth():
    """u = ε n exp(s/λ): inside a flat facet −Q·u is amount (n·q) exp(s/λ)."""
    s = scene_of(Polygon(3), (Relaxation(0.8, 4.0),), (128, 128), count=3)
    q = s.along_q()
    for row, label in enumerate(s.labels):
        n, h = np.array(label["normals"]), np.array(label["heights"])
        p = s.grid.points[:, : s.grid.size].numpy().T
        depth = p @ n.T - h
        first = np.sort(depth, 1)
        k = depth.argmax(1)
        flat = (first[:, -1] < 0) & (first[:, -1] - first[:, -2] > 3)  # well inside one facet's own region
        want = label["relaxation"]["amount"] * np.exp(first[:, -1] / 4.0) * (n[k] @ q[row])
        got = s.phase[row, : s.grid.size].numpy()
        assert flat.sum() > 300 and np.abs(got - want)[flat].max() < 1e-3 and np.abs(want[flat]).max() > 0.1


def test_bend_is_quadratic_and_a_tilt_moves_the_peak():
    s = scene_of(Polygon(6), (Bend(3.0),))
    for p in s.grid.array(s.phase).double().numpy():
        third = np.diff(p, 3, axis=0)
        assert np.abs(third).max() < 1e-4 and np.abs(np.diff(p, 2, axis=0)).max() > 1e-5
    s = scene_of(Polygon(6), (Tilt(2.0),), (64, 64))
    for row, label in enumerate(s.labels):
        slope = np.array(label["tilt"]) * 2 * np.pi / 64
        p = s.grid.array(s.phase)[row].numpy()
        assert np.allclose(np.diff(p, axis=0), slope[0], atol=1e-4) and np.allclose(np.diff(p, axis=1), slope[1], atol=1e-4)


def test_a_texture_varies_the_magnitude_by_no_more_than_its_contrast():
    s = scene_of(Polygon(6), (Texture(0.6, 3.0),))
    inside = s.outlines.distance < -1
    m = s.magnitude[inside]
    assert float(m.min()) >= 0.4 - 1e-6 and float(m.max()) <= 1 and float(m.max() - m.min()) > 0.4


# Symmetric copies


@pytest.mark.parametrize("shape", [(64, 64), (63, 50)])
def test_symmetric_copies_have_the_same_pattern(shape):
    plain = Simulation(Polygon(6), (Waves(1.0, 5.0), Dislocations(1)), shape, 2.6, QUIET)
    copies = replace(plain, copies=Copies(shift=9, flip=True, phase=True))
    a, b = plain.draw(1, range(8)), copies.draw(1, range(8))
    assert torch.allclose(a.intensity, b.intensity, rtol=1e-3, atol=1e-4 * float(a.intensity.max()))
    done = [label["copy"] for label in b.labels]
    assert 0 < sum("flip" in d for d in done) < 8 and all(max(map(abs, d["shift"])) <= 9 for d in done) and all("phase" in d for d in done)
    assert len({tuple(d["shift"]) for d in done}) > 4
    for x, y, d in zip(a.image, b.image, done, strict=True):
        found = align(torch.fft.ifftshift(y)[None], torch.fft.ifftshift(x), 2)
        assert float(found.error[0]) < 1e-3 and bool(found.twin[0]) == ("flip" in d)
        assert float(y.abs().square().sum()) == pytest.approx(float(x.abs().square().sum()), rel=1e-4)
    assert "copy" not in a.labels[0]


def test_facets_of_a_wulff_shape_keep_their_angles_in_a_box_that_is_not_a_cube():
    grid, streams = PixelGrid((32, 36, 48)), Streams(0, range(5))
    half = np.array([[8.0, 12.0, 16.0]] * 5)
    s = Scene.of(grid, Wulff(jitter=0.0).place(grid, half, streams), half, streams)
    for label in s.labels:
        n = np.array(label["normals"]) @ np.array(label["frame"])
        assert np.allclose(np.abs(n[:8]), 3**-0.5, atol=1e-3)


def test_burgers_vectors_are_those_of_fcc():
    s = scene_of(Wulff(), (Dislocations(3),), (32, 32, 32), count=6)
    for label in s.labels:
        frame = np.array(label["frame"])
        assert sorted(np.abs(frame.T @ label["reflection"]).round(6).tolist()) in ([1, 1, 1], [0, 0, 2], [0, 2, 2])
        for line in label["defects"]:
            assert sorted(np.abs(frame.T @ line["burgers"]).round(6).tolist()) == [0, 0.5, 0.5]


def test_triangles_are_closed_and_no_corner_sticks_out():
    for sides in (3, Between(4, 10)):
        recipe = Simulation(Polygon(sides), (), (64, 64), 2.0, QUIET)
        for x in recipe.draw(0, range(300)).support.numpy():
            assert x.sum() > 30 and (np.ptp(np.argwhere(x), axis=0) + 1 <= 33).all()


def test_cdi_nn_64_is_cdi_nn_padded():
    a, b = (replace(RECIPES[n], detector=QUIET).draw(4, range(12)).image for n in ("cdi-nn", "cdi-nn-64"))
    middle = b[:, 16:48, 16:48]
    assert not (b.abs().sum((1, 2)) - middle.abs().sum((1, 2))).abs().max() > 1e-2
    for x, y in zip(a, middle, strict=True):
        scale = x.abs().max() / y.abs().max()
        assert float((x - scale * y).abs().max() / x.abs().max()) < 1e-4


# Bad input


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda: simulation("crystal-2d"), "did you mean crystals-2d"),
        (lambda: simulation("nothing"), "known: crystals-2d"),
        (lambda: simulation("Simulation(Polygn(6))"), "did you mean Polygon"),
        (lambda: simulation("Polygon(6)"), "no Simulation"),
        (lambda: simulation("crystals-2d", shape=(8, 8)), "pixels for the object"),
        (lambda: simulation("crystals-2d", shape=(64, 64, 64)), "has 2 dimensions, the array 3"),
        (lambda: simulation("crystals-3d", shape=(64, 64)), "has 3 dimensions, the array 2"),
        (lambda: simulation("crystals-2d", shape=(64,)), "two or three sizes"),
        (lambda: simulation("crystals-2d", oversampling=0.5), "oversampling"),
        (lambda: crystal((64, 64), photons=-1), "photons"),
        (lambda: crystal((64, 64), dislocations=-1), "count"),
        (lambda: Simulation(Polygon(6), (Polygon(5),)), "expected a tuple of parts"),  # type: ignore[arg-type]
        (lambda: Simulation(6), "expected a Body"),  # type: ignore[arg-type]
        (lambda: Polygon(2), "sides=2"),
        (lambda: Polygon(5.5), "whole number"),
        (lambda: Between(3, 1), "smaller one first"),
        (lambda: Between(0, 1, log=True), "above 0"),
        (lambda: OneOf(()), "one or more"),
        (lambda: Waves(Between(-1, 2)), "rms"),
        (lambda: Domains(values=3), "inversion twins"),
        (lambda: Notched(Blob()), "half spaces"),
        (lambda: Mix(()), "expected bodies"),
        (lambda: Mix((Polygon(),), (1.0, 2.0)), "one weight"),
        (lambda: Hull(area=5000.0).place(PixelGrid((32, 32)), np.full((1, 2), 16.0), Streams(0, [0])), "100 tries"),
        (lambda: simulation(3), "is no Simulation"),  # type: ignore[arg-type]
        (lambda: Twin(Between(0, 1)), "probability=Between"),  # type: ignore[arg-type]
        (lambda: Tilt(OneOf((1.0,))), "pixels=OneOf"),  # type: ignore[arg-type]
        (lambda: Wulff(substrate=Between(0, 1)), "substrate"),  # type: ignore[arg-type]
        (lambda: Copies(shift=3.0), "whole number"),  # type: ignore[arg-type]
        (lambda: Copies(flip=1), "True or False"),  # type: ignore[arg-type]
        (lambda: Polygon(Between(3, 9, log=True)), "sides"),
        (lambda: Simulation(Polygon(6), real=2), "True or False"),  # type: ignore[arg-type]
        (lambda: simulation("cells").draw(-1, [0]), "0 or more"),
    ],
)
def test_what_cannot_be_made_is_refused_with_a_reason(make, told):
    with pytest.raises(InputError, match=told):
        make()


def test_one_crystal_has_what_was_asked_for():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        s = crystal((40, 40, 40), dislocations=2, faults=1, photons=1e6, beamstop=2).draw(7, [0])
    kinds = [d["kind"] for d in s.labels[0]["defects"]]
    assert kinds == ["dislocation", "dislocation", "fault"] and all(abs(d["winding"]) == 1 for d in s.labels[0]["defects"][:2])
    assert float(s.intensity.sum()) == pytest.approx(1e6, rel=0.01) and not bool(s.measured[0, 0, 0, 0])


def test_every_part_can_be_named_in_a_recipe():
    assert {p.__name__ for p in PARTS} == {c.__name__ for c in Part.__subclasses__()}
    assert isinstance(simulation("Simulation(Polygon(6), (Gratings(),), oversampling=OneOf((2.0, 3.0)))").parts[0], Gratings)
