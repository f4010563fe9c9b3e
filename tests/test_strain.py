"""From the phase to strain: laws of known displacements in oblique grids, dislocations, standard errors, frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations

import numpy as np
import pytest

from untwin.bragg.frame import Grid, regular
from untwin.bragg.maps import StrainMap
from untwin.bragg.strain import level, standard_error, strain, strain_of, turn
from untwin.data.measurement import Geometry
from untwin.errors import InputError

SHAPE = (20, 23, 26)
GRIDS = [(seed, hand) for seed in range(3) for hand in (1, -1)]


def oblique(seed: int, hand: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Voxel vectors of 10 to 30 nm at any angles, of either handedness, and a wave vector in any direction."""
    rng = np.random.default_rng(seed)
    a = np.eye(3)
    while abs(np.linalg.det(a)) > 0.8 or abs(np.linalg.det(a)) < 0.4:
        a = rng.standard_normal((3, 3))
        a /= np.linalg.norm(a, axis=1, keepdims=True)
    a *= np.sign(np.linalg.det(a)) * hand
    n = rng.standard_normal(3)
    return a * rng.uniform(10e-9, 30e-9, (3, 1)), 2.7e10 * n / np.linalg.norm(n)


def positions(shape: tuple[int, ...], a: np.ndarray) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij"), axis=-1) @ a


def ball(shape: tuple[int, ...] = SHAPE, radius: float = 8.0) -> np.ndarray:
    """In the grid's own indices."""
    return (positions(shape, np.eye(3)) ** 2).sum(axis=-1) < radius**2


def bent(r: np.ndarray, seed: int, strength: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """A quadratic phase and its gradient (*grid, 3); a voxel's step along any axis has up to about `strength` times its index, rad."""
    rng = np.random.default_rng(seed)
    m = rng.standard_normal((3, 3))
    m = (m + m.T) / np.linalg.norm(m + m.T) * strength / (20e-9) ** 2
    return 0.5 * np.einsum("...i,ij,...j->...", r, m, r), r @ m


def crystal(phase: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return np.where(inside, np.exp(1j * phase), 0)


def referred(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    return values - values[where].mean()


# strain of a known displacement


@pytest.mark.parametrize(("seed", "hand"), GRIDS)
def test_the_strain_of_a_quadratic_displacement_is_exact_in_any_oblique_grid(seed, hand):
    a, q = oblique(seed, hand)
    phase, slope = bent(positions(SHAPE, a), seed)
    m = strain_of(crystal(phase, ball()), ball(), a, q)
    truth = -(slope @ m.q) / (m.q @ m.q)
    assert np.abs(m.strain[m.bulk] - referred(truth, m.bulk)[m.bulk]).max() < 1e-6 * np.abs(truth[m.bulk]).max()
    assert m.bulk.sum() > 500 and np.isnan(m.strain[~m.support]).all()


@pytest.mark.parametrize(("seed", "hand"), GRIDS)
def test_one_sided_differences_at_the_surface_are_off_by_half_a_step(seed, hand):
    a, q = oblique(seed, hand)
    phase, slope = bent(positions(SHAPE, a), seed)
    m = strain_of(crystal(phase, ball()), ball(), a, q)
    truth = referred(-(slope @ m.q) / (m.q @ m.q), m.bulk)
    step = np.abs(np.diff(truth, axis=0)).max() + np.abs(np.diff(truth, axis=1)).max() + np.abs(np.diff(truth, axis=2)).max()
    second = np.abs(np.linalg.solve(a.T, m.q)).sum() / (m.q @ m.q) * np.abs(a @ (np.linalg.solve(a, np.ones(3)))).max()
    curvature = max(np.abs(np.diff(phase, 2, axis=k)).max() for k in range(3))
    worst = np.abs(m.strain - truth)[m.surface].max()
    assert 0 < worst <= second * curvature / 2 * (1 + 1e-6) and step > 0
    neighbours = sum(np.roll(m.support, s, k).astype(int) for k in range(3) for s in (1, -1))
    assert np.array_equal(m.surface, m.support & (neighbours < 6))


def test_a_linear_phase_is_no_strain_but_another_reference():
    a, q = oblique(1)
    g = np.linalg.solve(a, [0.7, -1.9, 2.4])
    m = strain_of(crystal(positions(SHAPE, a) @ g + 1.0, ball()), ball(), a, q)
    assert np.abs(m.strain[m.support]).max() < 1e-9 and np.allclose(m.q, q + g, rtol=1e-9)
    assert np.isclose(m.numbers["d_spacing"], 2 * np.pi / np.linalg.norm(q + g))
    assert np.isclose(m.numbers["ramp_strain"], -(g @ (q + g)) / ((q + g) @ (q + g)))
    assert np.abs(m.displacement[m.support]).max() < 1e-15


@pytest.mark.parametrize("seed", range(3))
def test_a_ramp_moves_the_reference_and_leaves_the_strain_as_it_is(seed):
    """Steps of a voxel wrap: up to 3 rad from the ramp alone."""
    a, q = oblique(seed)
    phase, _ = bent(positions(SHAPE, a), seed, 0.05)
    g = np.linalg.solve(a, np.random.default_rng(seed).uniform(-3, 3, 3))
    before = strain_of(crystal(phase, ball()), ball(), a, q)
    after = strain_of(crystal(phase + positions(SHAPE, a) @ g, ball()), ball(), a, q)
    assert np.allclose(after.q - before.q, g, atol=1e-9 * np.linalg.norm(q))
    # the same phase against a longer or turned q is another strain: slopes are what stays
    steps = [np.angle(m.image[1:] * m.image[:-1].conj())[m.support[1:] & m.support[:-1]] for m in (before, after)]
    assert np.abs(steps[0] - steps[1]).max() < 1e-5


def test_the_strain_is_that_of_scattering_from_displaced_atoms():
    """Sum of exp(−i q·(r + u)) over points at q near Q, back by the inverse transform: what is stretched along q has positive strain."""
    shape, stretch = (18, 18, 18), 1.5e-3
    a, q = np.diag([20e-9, 18e-9, 22e-9]) + 2e-9, np.array([0.3, -0.5, 0.8]) * 2.7e10
    n = q / np.linalg.norm(q)
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (6000, 3)) * 85e-9
    along = points @ n
    displaced = points + np.outer(np.where(along > 0, stretch * along, 0), n)
    b = np.linalg.inv(a).T * 2 * np.pi / np.array(shape)[:, None]
    offsets = positions(shape, b).reshape(-1, 3)
    # exp(−i Q·r) is 1 on a lattice, and left out for these points, which lie anywhere
    far = np.array([np.exp(-1j * (displaced @ k + (displaced - points) @ q)).sum() for k in offsets]).reshape(shape)
    image = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(far)))
    m = strain_of(image, np.abs(image) > 0.5 * np.abs(image).max() / 1.5, a, q)
    side = positions(shape, a) @ n
    high, low = (m.strain[m.bulk & (s > 25e-9)].mean() for s in (side, -side))
    assert np.isclose(high - low, stretch, rtol=0.15)


def test_wraps_of_the_phase_do_not_show_in_the_strain_and_are_undone_in_the_displacement():
    a, q = oblique(2)
    phase, slope = bent(positions(SHAPE, a), 5, 0.4)
    assert np.ptp(phase[ball()]) > 4 * np.pi
    m = strain_of(crystal(phase, ball()), ball(), a, q)
    truth = referred(-(slope @ m.q) / (m.q @ m.q), m.bulk)
    assert np.abs(m.strain - truth)[m.bulk].max() < 1e-6 * np.abs(truth).max()
    ramp = m.q - q
    u = -(phase - positions(SHAPE, a) @ ramp) / np.linalg.norm(m.q)
    error = referred(m.displacement.astype(float), m.bulk) - referred(u, m.bulk)
    assert np.abs(error[m.support]).max() < 1e-4 * 2 * np.pi / np.linalg.norm(q)


def test_steps_near_pi_are_said():
    a, q = oblique(2)
    phase, _ = bent(positions(SHAPE, a), 5, 0.9)
    m = strain_of(crystal(phase, ball()), ball(), a, q)
    assert any("near π" in s for s in m.notes)
    assert not any("near π" in s for s in strain_of(crystal(phase / 9, ball()), ball(), a, q).notes)


# support, amplitude, where the crystal lies


def test_a_loose_support_and_a_dark_rim_leave_the_strain_as_it_is():
    a, q = oblique(0)
    phase, _ = bent(positions(SHAPE, a), 0)
    rng = np.random.default_rng(1)
    rim = ball(radius=9.7) & ~ball()
    image = crystal(phase, ball()) + rim * 0.1 * np.exp(2j * np.pi * rng.random(SHAPE))
    tight, loose = strain_of(crystal(phase, ball()), ball(), a, q), strain_of(image, ball(radius=9.7), a, q)
    assert np.array_equal(tight.support, loose.support)
    assert np.allclose(tight.strain, loose.strain, atol=1e-12, equal_nan=True)


def test_dark_voxels_inside_have_no_strain_and_are_said():
    a, q = oblique(0)
    phase, slope = bent(positions(SHAPE, a), 0)
    hole = ball(radius=2.5)
    noise = np.exp(2j * np.pi * np.random.default_rng(3).random(SHAPE))
    m = strain_of(np.where(hole, 0.1 * noise, crystal(phase, ball())), ball(), a, q)
    truth = referred(-(slope @ m.q) / (m.q @ m.q), m.bulk)
    assert np.isnan(m.strain[hole]).all() and not m.dislocations
    assert np.abs(m.strain - truth)[m.bulk].max() < 1e-6 * np.abs(truth).max()
    assert m.numbers["hole_voxels"] == hole.sum() and any("inside the crystal are darker" in s for s in m.notes)


def test_half_of_the_power_is_above_the_level_whatever_the_support():
    rng = np.random.default_rng(0)
    image = np.where(ball(), rng.uniform(0.9, 1.1, SHAPE), 0.05 * rng.random(SHAPE))
    assert abs(level(image, ball()) - 1) < 0.05 and abs(level(image, np.ones(SHAPE, bool)) - 1) < 0.05


def test_the_strain_does_not_depend_on_the_array_about_the_crystal():
    a, q = oblique(1)
    phase, _ = bent(positions(SHAPE, a), 1)
    m = strain_of(crystal(phase, ball()), ball(), a, q)
    more = [(5, 4), (3, 3), (8, 7)]
    big = strain_of(np.pad(crystal(phase, ball()), more), np.pad(ball(), more), a, q)
    back = tuple(slice(low, low + n) for (low, _), n in zip(more, SHAPE, strict=True))
    assert np.allclose(big.strain[back], m.strain, atol=1e-9, equal_nan=True) and np.allclose(big.q, m.q)


# the twin


@pytest.mark.parametrize("shape", [(20, 23, 26), (21, 22, 25)])
def test_the_twin_has_the_same_pattern_and_the_strain_of_mirrored_places(shape):
    a, q = oblique(3)
    rng = np.random.default_rng(0)
    phase, _ = bent(positions(shape, a), 3)
    body = ball(shape, 7) & (positions(shape, np.eye(3)) @ rng.standard_normal(3) < 4)
    x = crystal(phase + 1e-2 * (positions(shape, a)[..., 0] / 2e-8) ** 3, body)
    far = [np.abs(np.fft.fftn(np.fft.ifftshift(y))) for y in (x, turn(x))]
    assert np.allclose(far[0], far[1]) and np.array_equal(turn(turn(x)), x)
    m, t = strain_of(x, body, a, q), strain_of(x, body, a, q, twin=True)
    mirrored = [n // 2 * 2 - np.arange(n) for n in shape]
    where = np.ix_(*[i % n for i, n in zip(mirrored, shape, strict=True)])
    assert np.array_equal(t.support, m.support[where]) and np.allclose(t.strain, m.strain[where], atol=1e-9, equal_nan=True)
    assert np.allclose(t.q, m.q) and not np.allclose(t.strain, m.strain, atol=1e-9, equal_nan=True)


def test_the_twin_is_left_open_unless_somebody_decides():
    a, q = oblique(3)
    texts = [strain_of(ball() + 0j, ball(), a, q, twin=t).notes[-1] for t in (None, True, False)]
    assert "cannot tell" in texts[0] and "twin of the reconstruction" in texts[1] and "not its twin" in texts[2]


# dislocations


def screw(a: np.ndarray, q: np.ndarray, shape: tuple[int, ...], inclined: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Phase, its gradient, distance from the line (m) and the line's direction; its Burgers vector is along it, Q·b = 2π. inclined: angle
    between the line and q, rad: the closer to π/2, the longer b."""
    n = q / np.linalg.norm(q)
    across = np.cross(n, [0.2, 1.0, 0.1])
    across /= np.linalg.norm(across)
    t = np.cos(inclined) * n + np.sin(inclined) * across
    e = np.cross(t, n)
    e /= np.linalg.norm(e)
    f = np.cross(t, e)
    r = positions(shape, a) - np.array([1e-8, -2e-8, 1.5e-8])
    x, y = r @ e, r @ f
    rho = x * x + y * y
    return np.arctan2(y, x), (np.multiply.outer(x / rho, f) - np.multiply.outer(y / rho, e)), np.sqrt(rho), t


@pytest.mark.parametrize("inclined", [0.3, 0.8, 1.4])
@pytest.mark.parametrize("hand", [1, -1])
def test_a_screw_dislocation_is_located_and_the_strain_beyond_three_voxels_is_right(inclined, hand):
    shape = (30, 60, 60)
    a = np.array([[31e-9, 4e-9, -2e-9], [5e-9, 13e-9, 2e-9], [1e-9, -3e-9, 13.5e-9]]) * np.array([[hand], [1], [1]])
    q = np.array([0.74, -0.37, 0.56]) * 2.7e10
    body = np.linalg.norm(positions(shape, a), axis=-1) < 190e-9
    wind, turning, away, t = screw(a, q, shape, inclined)
    phase, slope = bent(positions(shape, a), 4, 0.05)
    noise = np.random.default_rng(2).standard_normal((2, *shape))
    image = crystal(wind + phase, body) * (1 - np.exp(-((away / 10e-9) ** 2))) + 0.02 * body * (noise[0] + 1j * noise[1])
    m = strain_of(image, body, a, q)
    assert len(m.dislocations) == 1
    step = np.linalg.norm(a, axis=1)
    line = m.dislocations[0] - np.array([1e-8, -2e-8, 1.5e-8])
    off = np.linalg.norm((line - np.outer(line @ t, t)) @ np.linalg.inv(a), axis=1)
    assert off.max() < 2 and np.ptp(line @ t) > 2 * (190e-9 - 2.5 * step.max())
    assert 0.75 < m.numbers["dislocation_length"] / 370e-9 < 1.25
    truth = referred(-((turning + slope) @ m.q) / (m.q @ m.q), m.bulk)
    error = (m.strain - truth)[m.bulk]
    assert np.sqrt((error**2).mean()) < 5e-5 and np.isnan(m.strain[m.core]).all()
    assert truth[m.bulk].std() > 1e-4


@pytest.mark.parametrize("noise", [0.1, 0.3, 0.6])
def test_noise_makes_no_dislocations(noise):
    a, q = oblique(4)
    for seed in range(5):
        phase, _ = bent(positions(SHAPE, a), seed, 0.1)
        rng = np.random.default_rng(seed)
        m = strain_of(
            crystal(phase, ball()) + noise / 2**0.5 * (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)), ball(), a, q
        )
        assert not m.dislocations and not m.core.any()


def test_a_wall_between_opposite_phases_is_no_dislocation():
    a, q = oblique(4)
    rng = np.random.default_rng(0)
    wall = np.where(positions(SHAPE, np.eye(3))[..., 1] > 0, np.pi, 0)
    image = crystal(wall, ball()) + 0.1 * (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE))
    assert not strain_of(image, ball(), a, q).dislocations


def test_a_phase_that_winds_in_the_dark_is_no_dislocation():
    shape, a, q = (40, 40, 40), 15e-9 * np.eye(3), np.array([0, 0, 2.7e10])
    r = positions(shape, np.eye(3)) + 0.4
    wind = np.exp(1j * np.arctan2(r[..., 1], r[..., 0]))
    for dark, count in ((0.1, 0), (1.0, 1)):
        image = np.where(ball(shape, 7), dark * wind, ball(shape, 15) * 1.0)
        assert len(strain_of(image, ball(shape, 15), a, q).dislocations) == count


def test_two_lines_are_two():
    shape, a, q = (40, 40, 40), 15e-9 * np.eye(3), np.array([0, 0, 2.7e10])
    r = positions(shape, np.eye(3)) + 0.4
    phase = np.arctan2(r[..., 1] - 7, r[..., 0]) - np.arctan2(r[..., 1] + 7, r[..., 0])
    m = strain_of(crystal(phase, ball(shape, 16)), ball(shape, 16), a, q)
    assert m.numbers["dislocations"] == 2 and any("2 dislocation lines" in s for s in m.notes)
    assert strain_of(crystal(phase, ball(shape, 16)), ball(shape, 16), a, q, radius=0).core.sum() == 0


# standard error


def replicas(seed: int, k: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    a, q = oblique(seed)
    phase, _ = bent(positions(SHAPE, a), seed, 0.05)
    rng = np.random.default_rng(seed)
    x = crystal(phase, ball())
    copies = x + ball() * noise / 2**0.5 * (rng.standard_normal((k, *SHAPE)) + 1j * rng.standard_normal((k, *SHAPE)))
    return a, q, x, copies


def test_the_standard_error_is_the_scatter_of_independent_results():
    a, q, x, copies = replicas(0, 40, 0.05)
    m = strain_of(x, ball(), a, q, replicas=copies)
    assert m.error is not None
    alone = np.stack([strain_of(copy, ball(), a, q).strain for copy in copies])
    truth = strain_of(x, ball(), a, q).strain
    assert abs(np.sqrt(np.mean(m.error[m.bulk] ** 2) / np.nanmean((alone - truth)[:, m.bulk] ** 2)) - 1) < 0.15
    assert f"known to {np.median(m.error[m.bulk]):.1e}" in " ".join(m.notes)
    assert np.median(m.error[m.surface]) > np.median(m.error[m.bulk])


def test_the_standard_error_about_the_mean_of_two_maps_is_their_difference_over_the_square_root_of_two():
    assert np.allclose(standard_error(np.array([[[[-1e-4]]], [[[1e-4]]]])), 2e-4 / 2**0.5)
    assert np.allclose(standard_error(np.array([[[[1e-4]]], [[[1e-4]]], [[[np.nan]]]])), 2**0.5 * 1e-4), "all of them elsewhere"
    assert np.isnan(standard_error(np.array([[[[1e-4]]], [[[np.nan]]]]))).all()


def test_a_replica_says_nothing_where_it_is_0():
    a, q, x, copies = replicas(3, 6, 0.05)
    cut = copies.copy()
    cut[:2, :, :, : SHAPE[2] // 2] = 0
    m, without = (strain_of(x, ball(), a, q, replicas=c) for c in (cut, copies[2:]))
    assert m.error is not None and without.error is not None
    far = m.bulk & (np.arange(SHAPE[2]) < SHAPE[2] // 2 - 2)
    assert far.sum() > 100 and np.allclose(m.error[far], without.error[far], rtol=1e-5)
    lone = strain_of(x, ball(), a, q, replicas=np.stack([copies[0], cut[0]])).error
    assert lone is not None and np.isnan(lone[far]).all()


def test_ramps_and_offsets_of_the_replicas_are_no_error():
    a, q, x, _ = replicas(1, 2, 0)
    r = positions(SHAPE, a)
    rng = np.random.default_rng(5)
    copies = [x * np.exp(1j * (r @ np.linalg.solve(a, rng.uniform(-0.1, 0.1, 3)) + rng.uniform(-3, 3))) for _ in range(5)]
    m = strain_of(x, ball(), a, q, replicas=copies)
    assert m.error is not None and np.nanmax(m.error) < 2e-3 * np.nanmax(np.abs(m.strain))


def test_voxels_above_the_limit_are_marked():
    a, q, x, copies = replicas(2, 12, 0.05)
    middle = strain_of(x, ball(), a, q, replicas=copies).numbers["strain_error"]
    m = strain_of(x, ball(), a, q, replicas=copies, limit=middle)
    assert m.error is not None and abs(m.numbers["uncertain_share"] - 0.5) < 0.02
    assert np.array_equal(m.uncertain & m.bulk, m.bulk & (m.error > middle)) and not m.uncertain[~m.support].any()
    assert not strain_of(x, ball(), a, q, replicas=copies).uncertain[m.bulk].any()


def test_a_single_result_says_that_its_error_is_not_known():
    a, q, x, _ = replicas(2, 2, 0.05)
    m = strain_of(x, ball(), a, q)
    assert m.error is None and "strain_error" not in m.numbers and any("not known" in s for s in m.notes)


def test_a_strain_below_its_error_is_said():
    a, q, x, copies = replicas(2, 6, 1.0)
    texts = [" ".join(strain_of(np.abs(x) + 0j, ball(), a, q, replicas=c).notes) for c in (copies, x + (copies - x) * 1e-9)]
    assert "more than the strain itself" in texts[0]


# what a solution is


@dataclass
class Pattern:
    geometry: Geometry
    warnings: tuple[str, ...] = ("The Ewald sphere's curvature is 2 voxels at the corners.", "something else")
    preparation: tuple[str, ...] = ()


@dataclass
class Solution:
    image: object
    support: object
    pattern: object
    replicas: object = None
    numbers: dict[str, float] = field(default_factory=dict)


def test_a_solution_brings_its_geometry_its_replicas_and_what_is_known_of_the_ewald_sphere():
    import torch

    a, q, x, copies = replicas(0, 4, 0.05)
    b = np.linalg.inv(a).T * 2 * np.pi / np.array(SHAPE)[:, None]
    geometry = Geometry(sampling=tuple(map(tuple, b)), q=tuple(q))
    solution = Solution(torch.from_numpy(x.astype(np.complex64)), torch.from_numpy(ball()), Pattern(geometry), torch.from_numpy(copies))
    m, plain = strain(solution), strain_of(x, ball(), a, q, replicas=copies)
    assert np.allclose(m.strain, plain.strain, atol=1e-8, equal_nan=True) and np.allclose(m.vectors, a) and m.error is not None
    assert sum("Ewald" in s for s in m.notes) == 1 and not any("something else" in s for s in m.notes)
    assert m.strain.dtype == np.float32 and m.image.dtype == np.complex64


# frames


def cuboid(a: np.ndarray, shape: tuple[int, ...], half: tuple[float, float, float]) -> np.ndarray:
    return (np.abs(positions(shape, a)) < half).all(axis=-1)


@pytest.mark.parametrize(("seed", "hand"), GRIDS)
def test_volume_and_extents_are_the_same_in_every_frame(seed, hand):
    a, q = oblique(seed, hand)
    half = (90e-9, 120e-9, 150e-9)
    shape = (60, 60, 60)
    body = cuboid(a, shape, half)
    m = strain_of(body + 0j, body, a, q)
    volume = 8 * np.prod(half)
    step = np.linalg.norm(a, axis=1).max()
    assert np.isclose(m.numbers["volume"], volume, rtol=0.03)
    for axis, h in zip("xyz", half, strict=True):
        assert abs(m.numbers[f"extent_{axis}"] - 2 * h) < step
    for frame in ("laboratory", "crystal"):
        other = m.in_frame(frame)
        assert np.isclose(other.support.sum() * other.grid.cell, volume, rtol=0.06)
        assert np.isclose(np.linalg.norm(other.q), np.linalg.norm(m.q))


def letter(r: np.ndarray) -> np.ndarray:
    """An F in the laboratory's x and y, with a foot along z: no mirror image of it is a rotation of it."""
    x, y, z = np.moveaxis(r, -1, 0) * 1e9
    stem = (np.abs(x + 100) < 60) & (np.abs(y) < 250)
    bars = (np.abs(x - 30) < 190) & (np.abs(y - 190) < 60) | (np.abs(x) < 100) & (np.abs(y) < 50)
    foot = (np.abs(x + 100) < 60) & (np.abs(y + 190) < 60) & (z > 0) & (z < 250)
    return (stem | bars) & (np.abs(z) < 60) | foot


@pytest.mark.parametrize("hand", [1, -1])
@pytest.mark.parametrize("frame", ["laboratory", "crystal"])
def test_a_letter_keeps_its_handedness_also_in_a_left_handed_grid(hand, frame):
    a, q = oblique(0, hand)
    body = letter(positions((60, 60, 60), a))
    m = strain_of(body + 0j, body, a, q).in_frame(frame)
    index = np.stack(np.meshgrid(*map(np.arange, m.support.shape), indexing="ij"), axis=-1)
    laboratory = (m.origin + index @ m.vectors) @ m.rotation

    def common(points: np.ndarray) -> float:
        inside = letter(points)
        return float((inside & m.support).sum() / (inside | m.support).sum())

    mirrored = [common(laboratory * s) for s in ((-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1))]
    assert common(laboratory) > 0.78 > 0.72 > max(mirrored)
    assert np.isclose(np.linalg.det(m.rotation), 1) and np.allclose(m.vectors, m.vectors[0, 2] * np.eye(3)[::-1])


def test_strain_of_the_laboratory_is_that_of_the_array_and_not_diluted_at_the_surface():
    a, q = oblique(5)
    shape = (50, 50, 50)
    body = cuboid(a, shape, (100e-9, 100e-9, 100e-9))
    phase, slope = bent(positions(shape, a), 5, 0.01)
    m = strain_of(crystal(phase, body), body, a, q)
    for frame in ("laboratory", "crystal"):
        other = m.in_frame(frame, voxel=12e-9)
        index = np.stack(np.meshgrid(*map(np.arange, other.support.shape), indexing="ij"), axis=-1)
        r = (other.origin + index @ other.vectors) @ other.rotation
        gradient = np.linalg.lstsq(positions(shape, a)[m.bulk], slope[m.bulk], rcond=None)[0]
        truth = -(r @ gradient @ m.q) / (m.q @ m.q)
        truth = truth - (-(slope @ m.q) / (m.q @ m.q))[m.bulk].mean()
        assert np.abs(other.strain - truth)[other.bulk].max() < 0.15 * truth[other.support].std()
        assert np.isfinite(other.strain[other.support]).mean() > 0.99  # corners have no neighbour along some axis
        assert np.sqrt(np.nanmean((other.strain - truth)[other.surface] ** 2)) < 0.35 * truth[other.surface].std()


def test_a_constant_stays_constant_up_to_the_surface():
    a, q = oblique(5)
    m = strain_of(ball() + 0j, ball(), a, q, replicas=np.stack([ball() + 0j] * 2))
    shown = StrainMap(**{**m.__dict__, "strain": np.where(m.support, np.float32(1e-3), np.nan), "error": np.where(m.support, 2e-4, np.nan)})
    other = shown.in_frame("laboratory")
    assert other.error is not None
    assert np.allclose(other.strain[other.support], 1e-3, rtol=1e-6) and np.allclose(other.error[other.support], 2e-4, rtol=1e-6)


def test_cores_and_lines_go_along_into_another_frame():
    shape, a, q = (40, 40, 40), 15e-9 * np.eye(3)[::-1], np.array([0, 2.7e10, 0.3e10])
    r = positions(shape, a) + 6e-9
    m = strain_of(crystal(np.arctan2(r[..., 1], r[..., 0]), ball(shape, 15)), ball(shape, 15), a, q)
    other = m.in_frame("crystal")
    line = other.dislocations[0] @ other.rotation
    assert np.abs(line[:, :2] + 6e-9).max() < 15e-9
    assert other.core.any() and np.isnan(other.strain[other.core]).all() and np.isfinite(other.strain[other.bulk]).all()
    assert np.isclose(other.core.sum() * other.grid.cell, m.core.sum() * m.grid.cell, rtol=0.15)


def test_the_axes_of_the_crystal():
    a, q = oblique(6)
    m = strain_of(ball() + 0j, ball(), a, q)
    z = m.in_frame("crystal")
    assert np.allclose(z.q, [0, 0, np.linalg.norm(q)], atol=1e-3) and any("laboratory's" in s for s in z.notes)
    second = np.cross(q, [0.3, 0.5, -0.2]) + 0.4 * q
    t = m.in_frame("crystal", second=tuple(second))
    along = t.rotation @ second
    assert abs(along[1]) < 1e-9 * np.linalg.norm(second) and along[0] > 0 and np.isclose(np.linalg.det(t.rotation), 1)


def test_miller_axes_of_a_cubic_crystal_are_those_of_its_ub():
    a, q = oblique(7)
    n, x = q / np.linalg.norm(q), np.cross(q, [1.0, 0.2, 0.1])
    x /= np.linalg.norm(x)
    old = np.array([x, np.cross(n, x), n])  # rows in the laboratory
    miller = np.array([[1, -1, 0], [1, 1, -2], [1, 1, 1]]) / np.sqrt([[2], [6], [3]])
    u = old.T @ miller
    for factor in (1, 2 * np.pi):
        ub = u * np.linalg.norm(q) / np.sqrt(3) * 1e-10 / (2 * np.pi) * factor
        m = strain_of(ball() + 0j, ball(), a, q).in_frame("crystal", ub=ub)
        assert np.allclose(m.rotation, u.T) and m.axes == ("100", "010", "001")
        assert np.allclose(m.q / np.linalg.norm(m.q), np.ones(3) / np.sqrt(3)) and any("(1.000, 1.000, 1.000)" in s for s in m.notes)


def test_a_tetragonal_crystal_has_no_cubic_axes():
    """Axes at right angles are not enough: facets would get indices that are not theirs."""
    a, q = oblique(7)
    n = q / np.linalg.norm(q)
    x = np.cross(n, [1.0, 0.2, 0.1]) / np.linalg.norm(np.cross(n, [1.0, 0.2, 0.1]))
    ub = np.array([x, np.cross(n, x), n]).T @ np.diag([2.0, 2.0, 1.0]) * np.linalg.norm(q) * 1e-10  # q is (0 0 1)
    assert strain_of(ball() + 0j, ball(), a, q).in_frame("crystal", ub=ub).axes == ("a*", "b* across a*", "c")


def test_axes_of_a_hexagonal_crystal_are_named_by_what_they_lie_along():
    a, q = oblique(7)
    reciprocal = np.array([[1, 0.5, 0], [0, 3**0.5 / 2, 0], [0, 0, 0.6]])
    along = reciprocal @ [1, 0, 1]
    n, x = np.cross(along, [0, 0, 1.0]), q / np.linalg.norm(q)
    y = np.cross(x, [0.3, 0.1, 0.9])
    frames = [
        np.array([v / np.linalg.norm(v), w / np.linalg.norm(w), np.cross(v, w) / np.linalg.norm(np.cross(v, w))])
        for v, w in ((along, n), (x, y))
    ]
    u = frames[1].T @ frames[0]
    m = strain_of(ball() + 0j, ball(), a, q).in_frame("crystal", ub=u @ reciprocal * np.linalg.norm(q) / np.linalg.norm(along) * 1e-10)
    assert m.axes == ("a*", "b* across a*", "c") and np.allclose(m.rotation, u.T)
    assert np.allclose(m.q / np.linalg.norm(m.q), along / np.linalg.norm(along))


def test_a_grid_keeps_the_middle_of_the_array_on_a_point_and_covers_the_crystal():
    a, _ = oblique(8)
    old = Grid(SHAPE, a, -(np.array(SHAPE) // 2) @ a)
    new = regular(old, ball(), 7e-9)
    at = -new.origin / 7e-9
    assert np.allclose(at, np.round(at))
    top = new.origin + (np.array(new.shape) - 1) @ new.vectors
    points = old.positions(ball())
    assert (points.min(axis=0) > new.origin + 7e-9).all() and (points.max(axis=0) < top - 7e-9).all()


# what cannot be


BALL, VECTORS, Q = ball() + 0j, oblique(0)[0], oblique(0)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((BALL, ball()[:-1], VECTORS, Q), "expected two 3D arrays of one shape"),
        ((BALL, np.zeros(SHAPE, bool), VECTORS, Q), "no crystal"),
        ((0 * BALL, ball(), VECTORS, Q), "no crystal"),
        ((BALL * np.nan, ball(), VECTORS, Q), "not finite"),
        ((BALL, ball(radius=1.2), VECTORS, Q), "away from its surface"),
        ((BALL[0], ball()[0], VECTORS, Q), "3D"),
        ((BALL, ball(), VECTORS[[0, 0, 1]], Q), "span space"),
        ((BALL, ball(), VECTORS, 0 * Q), "not 0"),
        ((np.array([["a"]]), ball(), VECTORS, Q), "3D array"),
    ],
)
def test_bad_input_is_refused_with_what_came_and_what_was_expected(arguments, message):
    with pytest.raises(InputError, match=message):
        strain_of(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replicas": BALL[None]}, "at least two"),
        ({"replicas": np.stack([BALL, BALL * np.nan])}, "not finite"),
        ({"limit": 0}, "limit"),
        ({"isosurface": 1}, "isosurface"),
        ({"radius": -1}, "radius"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        strain_of(BALL, ball(), VECTORS, Q, **options)


def test_a_result_without_the_geometry_of_a_scan_is_refused():
    for pattern in (None, Pattern(Geometry()), Pattern(Geometry(sampling=tuple(map(tuple, np.eye(3)))))):
        with pytest.raises(InputError, match=r"strain_of\(image"):
            strain(Solution(BALL, ball(), pattern))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame": "sample"}, "laboratory, crystal"),
        ({"frame": "laboratory", "second": (1, 0, 0)}, "needs neither"),
        ({"frame": "crystal", "second": tuple(Q)}, "across it"),
        ({"frame": "crystal", "second": (0, 0, 0)}, "direction"),
        ({"frame": "crystal", "second": (1, 0, 0), "ub": np.eye(3)}, "one of them"),
        ({"frame": "crystal", "ub": np.eye(3)[[1, 0, 2]]}, "left-handed"),
        ({"frame": "crystal", "ub": np.ones((3, 3))}, "span space"),
        ({"frame": "crystal", "ub": np.eye(3)}, "whole numbers"),
        ({"frame": "laboratory", "voxel": 0}, "voxel"),
        ({"frame": "laboratory", "voxel": 1e-12}, "larger voxel"),
    ],
)
def test_frames_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        strain_of(BALL, ball(), VECTORS, Q).in_frame(**options)


def test_a_map_is_interpolated_once():
    m = strain_of(BALL, ball(), VECTORS, Q)
    assert m.in_frame("array") is m
    with pytest.raises(InputError, match="interpolated already"):
        m.in_frame("laboratory").in_frame("crystal")


def test_orderings_of_the_axes_of_an_array_give_one_and_the_same_laboratory():
    """A scan whose axes are permuted is another grid of the same crystal, left-handed for half of them."""
    a, q = oblique(9)
    phase, _ = bent(positions(SHAPE, a), 9, 0.05)
    x, body = crystal(phase, ball()), ball()
    first = strain_of(x, body, a, q).in_frame("laboratory", voxel=15e-9)
    for order in permutations(range(3)):
        other = strain_of(x.transpose(order), body.transpose(order), a[list(order)], q).in_frame("laboratory", voxel=15e-9)
        assert np.array_equal(first.support, other.support) and np.allclose(first.strain, other.strain, atol=1e-9, equal_nan=True)


# files


def test_a_map_that_is_written_reads_back_and_what_is_none_is_refused(tmp_path):
    from untwin.bragg.export import MAP, read_map, remove_maps, write_maps

    a, q, x, copies = replicas(2, 6, 0.05)
    m = strain_of(x, ball(), a, q, replicas=copies, limit=1e-4)
    paths = write_maps(tmp_path, m, m.in_frame("laboratory"), m.in_frame("crystal"))
    assert [p.name for p in paths] == ["array.vts", "laboratory.vti", "crystal.vti", MAP, "numbers.csv"] and all(p.is_file() for p in paths)
    again = read_map(tmp_path / MAP)
    for name in ("image", "support", "surface", "core", "displacement", "strain", "error", "vectors", "origin", "q"):
        np.testing.assert_array_equal(getattr(again, name), getattr(m, name))
    assert (again.frame, again.axes, again.notes, again.limit) == (m.frame, m.axes, m.notes, m.limit)
    np.testing.assert_array_equal(again.in_frame("laboratory").strain, m.in_frame("laboratory").strain)
    assert b'Name="spacing (nm)"' in paths[0].read_bytes() and np.allclose(m.spacing[m.bulk].mean(), m.numbers["d_spacing"])
    (tmp_path / "notes.txt").write_text("mine")
    remove_maps(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "other.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="cannot be read as a strain map"):
        read_map(tmp_path / "other.npz")
