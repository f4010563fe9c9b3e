"""q of a pixel and its changes: laws that hold for every row of the table of beamlines."""

from __future__ import annotations

import numpy as np
import pytest

from untwin.bragg.beamlines import TABLE
from untwin.bragg.instrument import Instrument
from untwin.data.measurement import Geometry, is_sound


def instrument(key: str, frames: int = 21, step: float = 1e-3, energy_step: float = 0.0) -> Instrument:
    """All circles off zero; the outermost of the sample turns."""
    row, rng = TABLE[key], np.random.default_rng(5)
    sample = np.tile(rng.uniform(-40, 40, len(row.sample)), (frames, 1))
    sample[:, 0] += np.arange(frames) * step
    detector = np.tile(rng.uniform(5, 40, len(row.detector)), (frames, 1))
    energy = 9000.0 + energy_step * np.arange(frames)
    return Instrument(row, sample, detector, energy, 0.5, (55e-6, 55e-6), (100.0, 120.0))


@pytest.mark.parametrize("key", TABLE)
@pytest.mark.parametrize(("step", "energy_step"), [(1e-3, 0.0), (0.0, 0.1)], ids=["rocking", "energy"])
def test_the_sampling_is_the_derivative_of_q(key, step, energy_step):
    i, at, h = instrument(key, step=step, energy_step=energy_step), (10, 90.0, 140.0), 1e-3
    n, row, column = at
    numeric = [
        (i.q(n + 1, row, column, n) - i.q(n - 1, row, column, n)) / 2,
        (i.q(n, row + h, column, n) - i.q(n, row - h, column, n)) / (2 * h),
        (i.q(n, row, column + h, n) - i.q(n, row, column - h, n)) / (2 * h),
    ]
    b = i.sampling(*at)
    assert np.abs(b - numeric).max() < 1e-7 * np.abs(b).max()


@pytest.mark.parametrize("key", TABLE)
def test_voxel_vectors_are_dual_to_the_sampling(key):
    geometry = instrument(key).geometry(10, 90.0, 140.0)
    shape = (24, 40, 60)
    a, b = geometry.voxel_vectors(shape), np.array(geometry.sampling)
    assert np.allclose(a @ b.T, 2 * np.pi * np.diag(1 / np.array(shape)), atol=1e-15)
    assert is_sound(geometry)


def test_the_length_of_q_is_that_of_the_bragg_angle():
    i = instrument("34idc")
    ray = i.rays(3, np.array(80.0), np.array(10.0))
    angle = np.arccos(ray[2]) / 2
    assert np.isclose(np.linalg.norm(i.q(3, np.array(80.0), np.array(10.0), 0)), 2 * i.wavenumber(3) * np.sin(angle), rtol=1e-12)


def test_scan_54_of_34_id_c_has_the_published_numbers():
    """2θ of the log, and |Q| of gold's 111 as the motors say it (beamline's spec file; angles of its header)."""
    frames = 201
    sample = np.column_stack([np.linspace(-0.279996, 0.720004, frames), np.full(frames, 90.0), np.full(frames, -5.0)])
    detector = np.tile([32.174, 12.6346], (frames, 1))
    i = Instrument(TABLE["34idc"], sample, detector, np.full(frames, 9000.0), 0.5, (55e-6, 55e-6), (127.0, 127.0))
    assert np.isclose(np.degrees(np.arccos(i.rays(0, np.array(127.0), np.array(127.0))[2])), 34.31625944, atol=1e-7)
    g = i.geometry(99, 127.0, 127.0)
    assert np.isclose(np.linalg.norm(g.q), 26.9105e9, rtol=1e-5)
    assert np.allclose(np.linalg.norm(g.sampling, axis=1), [2.181e6, 5.017e6, 5.017e6], rtol=1e-3)


def test_a_plane_of_directions_is_no_sound_geometry():
    flat = Geometry(sampling=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 0.0)), q=(1.0, 0.0, 0.0))
    assert not is_sound(flat)
