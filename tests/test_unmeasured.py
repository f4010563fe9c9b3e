"""Unconstrained modes: stops hide some, gaps hide few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from untwin.data.measurement import Pattern
from untwin.judge.trust import MAX_HIDDEN_SPECKLES
from untwin.model import unmeasured
from untwin.model.unmeasured import unconstrained_modes
from untwin.simulate.detector import beamstop


def disk(shape: tuple[int, ...], diameter: float) -> np.ndarray:
    return sum(np.square(g) for g in np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")) <= (diameter / 2) ** 2


def behind(measured: np.ndarray) -> Pattern:
    """A level pattern: as much light in every measured pixel."""
    return Pattern(intensity=np.where(measured, 100.0, 0).astype(np.float32), measured=measured)


def gap(shape: tuple[int, ...], width: int, first: int) -> np.ndarray:
    k = np.fft.fftfreq(shape[-1], 1 / shape[-1])
    return np.broadcast_to((k < first) | (k >= first + width), shape).copy()


@pytest.mark.parametrize("diameter", [18, 26, 34, 42, 50])
def test_round_stops_are_parted_as_by_the_speckles_that_they_cover(diameter):
    support, decided = disk((64, 64), diameter), []
    for radius in np.arange(1, 6.1, 0.5):
        measured = beamstop((64, 64), radius)
        covered = (~measured).sum() * support.mean()
        if not 11 < covered < 16:
            assert (unconstrained_modes(behind(measured), support) > MAX_HIDDEN_SPECKLES) == (covered > 12)
            decided.append(covered > 12)
    assert not all(decided)
    assert any(decided) or diameter < 30


@pytest.mark.parametrize("first", [-2, 6])
@pytest.mark.parametrize("width", [2, 4])
def test_straight_gaps_hide_few_modes_wherever_they_lie(width, first):
    measured, support = gap((64, 64), width, first), disk((64, 64), 26)
    assert unconstrained_modes(behind(measured), support) < 1 < (~measured).sum() * support.mean() / 12
    assert unconstrained_modes(behind(gap((64, 64), 12, first)), support) > 10 * MAX_HIDDEN_SPECKLES


def test_a_mode_is_a_wave_that_can_be_added_and_the_data_do_not_notice():
    """One column of an object that fills its row: nothing else tells its mean."""
    measured, support = gap((32, 32), 1, 0), np.zeros((32, 32), bool)
    support[0] = True
    assert unconstrained_modes(behind(measured), support) == pytest.approx(1)
    support[:] = True
    assert unconstrained_modes(behind(measured), support) == pytest.approx(32)
    assert unconstrained_modes(behind(measured), np.zeros_like(support)) == 0 == unconstrained_modes(behind(measured | True), support)


def test_dark_pixels_hide_nothing_that_matters():
    support, corners = disk((64, 64), 26), disk((64, 64), 60)
    light = np.where(disk((64, 64), 40), 1000, 1).astype(np.float32)
    dark = Pattern(intensity=np.where(corners, light, 0), measured=corners)
    assert unconstrained_modes(dark, support) == 0
    assert unconstrained_modes(behind(corners), support) > 10


def test_beyond_a_size_the_number_is_estimated_and_the_same_each_time(monkeypatch):
    cases = [(behind(beamstop((64, 64), 6)), disk((64, 64), 40)), (behind(gap((64, 64), 6, -3)), disk((64, 64), 26))]
    exact = [unconstrained_modes(*case) for case in cases]
    monkeypatch.setattr(unmeasured, "DENSE", 10)
    estimated = [unconstrained_modes(*case) for case in cases]
    assert estimated == pytest.approx(exact, rel=0.25) and exact != estimated
    assert [unconstrained_modes(*case) for case in cases] == estimated


def test_balls_are_parted_likewise():
    shape = (24, 24, 24)
    for diameter, radius, covered in ((9, 4.0, 8), (9, 6.0, 20), (13, 2.5, 7), (13, 4.0, 20)):
        measured, support = beamstop(shape, radius), disk(shape, diameter)
        assert (~measured).sum() * support.mean() == pytest.approx(covered, rel=0.35)
        assert (unconstrained_modes(behind(measured), support) > MAX_HIDDEN_SPECKLES) == (covered > 12)


def test_in_space_a_gap_hides_next_to_nothing():
    shape = (24, 24, 24)
    support = disk(shape, 8)
    pattern = behind(gap(shape, 2, -1))
    assert unconstrained_modes(pattern, support) < 0.1
    assert unconstrained_modes(replace(pattern, measured=gap(shape, 2, -1) & beamstop(shape, 7)), support) > MAX_HIDDEN_SPECKLES


def test_a_reconstruction_with_a_gap_through_its_centre_is_trusted_and_its_number_is_that_of_its_support():
    import untwin as ut
    from untwin.simulate.detector import measure
    from untwin.simulate.shapes import CLASSES

    p, _ = measure(CLASSES["poly"]((64, 64), np.random.default_rng(31)).astype(complex), 1e6, np.random.default_rng(1))
    hole = gap((64, 64), 4, -2)
    solution = ut.reconstruct(replace(p, intensity=np.where(hole, p.intensity, 0), measured=hole), method="classical", seed=1, workers=1)
    modes = unconstrained_modes(solution.pattern, np.asarray(solution.support))
    assert solution.numbers["hidden_speckles"] == pytest.approx(modes) and modes < MAX_HIDDEN_SPECKLES
    assert solution.verdict.trusted, solution.verdict.text
