"""What is seen of a detector's faults before the centre is sought: hot pixels, gaps and stops stored as 0, masks the wrong way round."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from untwin.data import counts as door
from untwin.data.faults import require_upright_mask, without_faults
from untwin.data.read import read
from untwin.errors import GuessWarning, InputError
from untwin.simulate.shapes import CLASSES


def mean_of(x: np.ndarray, size: float) -> np.ndarray:
    """|F|² of an object that fills this share of the field, of one photon in all, centred."""
    inside = np.argwhere(np.abs(x) > 0.02 * np.abs(x).max())
    x = x[tuple(slice(a, b + 1) for a, b in zip(inside.min(0), inside.max(0)))]
    mean = np.fft.fftshift(np.abs(np.fft.fftn(x, [2 * int(np.ceil(n / size / 2)) for n in x.shape], range(x.ndim))) ** 2)
    return mean / mean.sum()


def crystal(photons: float = 1e6, d: int = 2, size: float = 0.4, kind: str = "complex", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mean = mean_of(CLASSES[kind]((64, 64) if d == 2 else (32, 32, 32), rng).astype(complex), size)
    return rng.poisson(mean * photons).astype(np.float32)


def rectangle(shape: tuple[int, ...], photons: float, size: float = 0.5) -> np.ndarray:
    return np.random.default_rng(1).poisson(mean_of(np.ones(shape), size) * photons).astype(np.float32)


def look(counts: np.ndarray, measured: np.ndarray | None = None) -> tuple[np.ndarray, list[str]]:
    """(where something is masked, the sentences)."""
    guesses: list[str] = []
    good = np.ones(counts.shape, bool) if measured is None else measured
    intensity, left = without_faults(counts, good, "the array", guesses)
    assert not (left & ~good).any() and not intensity[~left].any() and (intensity[left] == counts[left]).all()
    return good & ~left, guesses


def pattern(values: np.ndarray, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GuessWarning)
        return read(values, **options)


def dark_pixel(c: np.ndarray, seed: int = 0) -> tuple[int, int]:
    """Of the frames' sum, with no light about it, away from the middle."""
    total = c if c.ndim == 2 else c.sum(0)
    around = sum(np.roll(total, (a, b), (0, 1)) for a in (-2, -1, 0, 1, 2) for b in (-2, -1, 0, 1, 2))
    y, x = np.argwhere(around <= np.quantile(around, 0.1))[seed]
    return int(y), int(x)


# light is no fault


@pytest.mark.parametrize(("shape", "size"), [((31, 34), 0.75), ((48, 44), 0.79), ((28, 51), 0.77)])
def test_the_streaks_of_a_large_rectangle_are_no_lines_and_a_hot_column_beside_them_is_one(shape, size):
    c = rectangle(shape, 2e5, size)
    hidden, _ = look(c)
    assert not hidden.any()
    c[:, 5] += 200
    hidden, guesses = look(c)
    assert hidden[:, 5].all() and hidden.sum() == len(c) and any("in lines along" in text for text in guesses)


@pytest.mark.parametrize("along", ["row", "column"])
@pytest.mark.parametrize("where", ["first", "middle"])
def test_a_hot_row_or_column_that_is_opposite_to_itself_is_masked(along, where):
    c = crystal(size=0.25)
    image = c if along == "row" else c.T
    image[0 if where == "first" else len(image) // 2] += 5000
    hidden, guesses = look(c)
    rows = hidden if along == "row" else hidden.T
    assert rows[0 if where == "first" else len(rows) // 2].all() and hidden.sum() == rows.shape[1]
    assert any("in lines along" in text for text in guesses)


@pytest.mark.parametrize(("column", "photons"), [(34, 1e9), (68, 1e7)])
def test_a_hot_column_is_masked_that_crosses_a_streak_or_lies_on_one(column, photons):
    c = rectangle((101, 101), photons, 0.75)
    c[:, column] += 5000
    hidden, _ = look(c)
    assert c.shape == (136, 136) and hidden[:, column].all() and hidden.sum() == len(c)


def test_two_of_many_hot_pixels_that_are_opposite_to_each_other_are_masked_as_the_others_are():
    c = crystal(size=0.25)
    y, x = (n // 2 for n in c.shape)
    at = (np.array([y - 30, y + 30, 5, 9, 17, 40]), np.array([x - 40, x + 40, 8, 50, 21, 11]))
    c[at] = 6000
    hidden, _ = look(c)
    assert hidden[at].all() and hidden.sum() == 6


STORED = {
    "counts": lambda c: c,
    "FFT order": np.fft.ifftshift,
    "scaled": lambda c: c * np.float32(3.3e-7),
    "8 bits": lambda c: np.rint(c / c.max() * 255),
    "above a threshold": lambda c: np.where(c < 30, 0, c),
    "flat-fielded": lambda c: c / np.random.default_rng(5).normal(1, 0.05, c.shape).clip(0.8).astype(np.float32),
    "with noise, cut at 0": lambda c: np.maximum(40 * c + np.random.default_rng(5).normal(0, 20, c.shape), 0).astype(np.float32),
}


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("d", [2, 3])
def test_light_is_no_fault(stored, d):
    for size in (0.15, 0.3, 0.5):
        for photons in (1e3, 1e5, 1e7):
            for kind in CLASSES:
                assert look(STORED[stored](crystal(photons, d, size, kind)))[1] == []


@pytest.mark.parametrize("photons", [1e3, 1e5, 1e7])
@pytest.mark.parametrize("shape", [(24, 24), (24, 17), (12, 12, 12)])
@pytest.mark.parametrize("size", [0.5, 0.25, 0.2])
def test_the_zeros_of_a_rectangle_are_its_own(photons, shape, size):
    """Whole rows and columns are 0, beside the brightest ones; at an oversampling of 2 every other one is."""
    counts = rectangle(shape, photons, size)
    assert look(counts)[1] == [] and look(np.fft.ifftshift(counts))[1] == []
    assert look(mean_of(np.ones(shape), size) * photons)[1] == []


def test_nodal_lines_of_a_real_object_are_its_own():
    y, x = np.indices((96, 96)) - 48
    disc = (np.hypot(y, x) < 24).astype(float)
    for photons in (1e5, 1e7, 1e9):
        mean = mean_of(disc, 0.2)
        assert look(np.random.default_rng(0).poisson(mean * photons).astype(np.float32))[1] == []


def test_a_soft_object_ends_in_the_dark_and_not_at_a_margin():
    """Its light falls off by factors of hundreds from one row to the next; beyond are zeros to the border."""
    y, x = np.indices((64, 64)) - 32
    for width in (3, 6, 9):
        mean = np.fft.fftshift(np.abs(np.fft.fft2(np.exp(-(y**2 + x**2) / 2 / width**2))) ** 2)
        assert look(np.random.default_rng(0).poisson(mean / mean.sum() * 1e7).astype(np.float32))[1] == []


def test_a_good_pattern_is_handed_back_as_it_came():
    counts = crystal()
    good = np.ones(counts.shape, bool)
    intensity, measured = without_faults(counts, good, "it", [])
    assert intensity is counts and measured is good


# hot pixels


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("scale", [1.0, 2.7e-6])
@pytest.mark.parametrize("value", [300, 1e4, 1e8])
def test_a_hot_pixel_is_masked_and_nothing_else(d, scale, value):
    counts = crystal(d=d)
    for seed in range(5):
        hot = counts.copy()
        at = (..., *dark_pixel(counts, seed))
        hot[at] = value
        where = np.zeros(hot.shape, bool)
        where[at] = True
        masked, (sentence,) = look(hot * np.float32(scale))
        assert (masked == where).all() and "masked as hot" in sentence and "--keep-strays" in sentence


def test_a_hot_pixel_does_not_become_the_centre():
    counts = crystal()
    hot = counts.copy()
    hot[5, 7] = 10 * hot.max()
    p, clean = pattern(hot), pattern(counts)
    assert p.source.centre == clean.source.centre and p.shape == clean.shape and (clean.measured & ~p.measured).sum() == 1
    assert p.asymmetry == pytest.approx(clean.asymmetry, rel=0.1)
    kept = pattern(hot, keep_strays=True)
    assert kept.source.options == {"keep_strays": True} and kept.intensity.max() == hot.max()


def test_hot_pixels_that_touch_and_one_on_the_border_are_masked():
    counts = crystal()
    y, x = dark_pixel(counts, 3)
    counts[y, x : x + 3] = (4000, 9000, 5000)
    counts[0, 0], counts[-1, 40] = 1e5, 3e5
    masked, _ = look(counts)
    assert set(map(tuple, np.argwhere(masked))) == {(y, x), (y, x + 1), (y, x + 2), (0, 0), (counts.shape[0] - 1, 40)}


def touching(number: int) -> set[frozenset[tuple[int, int]]]:
    """Every shape of so many pixels that touch by a side or a corner."""
    shapes = {frozenset([(0, 0)])}
    for _ in range(number - 1):
        grown = {f | {(y + a, x + b)} for f in shapes for y, x in f for a in (-1, 0, 1) for b in (-1, 0, 1)} - shapes
        least = {f: [min(p[axis] for p in f) for axis in (0, 1)] for f in grown}
        shapes = {frozenset((y - least[f][0], x - least[f][1]) for y, x in f) for f in grown}
    return shapes


@pytest.mark.parametrize(("number", "shapes"), [(2, 4), (3, 20), (4, 110)])
def test_up_to_four_hot_pixels_that_touch_are_masked_in_every_shape(number, shapes):
    counts, rng = crystal(), np.random.default_rng(0)
    assert len(touching(number)) == shapes
    for k, shape in enumerate(sorted(map(sorted, touching(number)))):
        at = tuple((np.array(shape) + dark_pixel(counts, k % 20)).T % len(counts))
        hot, where = counts.copy(), np.zeros(counts.shape, bool)
        hot[at], where[at] = 10 ** rng.uniform(3.5, 5, number), True
        masked, _ = look(hot)
        assert (masked == where).all(), shape


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("value", [255, 65535, 1e6])
def test_hot_pixels_that_share_the_largest_value_are_hot_and_not_saturated(d, value):
    counts = crystal(1e5 if value > 255 else 2e3, d)
    counts[..., 3::14, 5::14][counts[..., 3::14, 5::14] < 0.1] = value
    hot = counts == value
    light = door.photons(counts, np.zeros(counts.shape, bool), "it")
    measured, sentences = light.measured, light.guesses
    assert hot.sum() >= 4 and counts.max() == value and (measured == ~hot).all()
    assert len(sentences) == 1 and "masked as hot" in sentences[0]


def test_saturated_light_is_saturated_and_a_hot_pixel_at_the_same_value_is_hot():
    counts = crystal()
    top = counts.max() // 4
    clipped = np.minimum(counts, top)
    n = int((clipped == top).sum())
    upright = np.zeros(counts.shape, bool)
    (saturated,) = door.photons(clipped, upright, "it").guesses
    clipped[dark_pixel(counts, 3)] = top
    hot, rest = door.photons(clipped, upright, "it").guesses
    assert f"{n} pixels sit at exactly" in saturated and rest.startswith(f"{n} pixels sit at exactly")
    assert hot.startswith("1 pixel at exactly") and "masked as hot" in hot


def test_hot_in_most_frames_is_masked_in_all_and_hot_in_one_in_one():
    counts = crystal(d=3)
    (y, x), (v, u) = dark_pixel(counts, 0), dark_pixel(counts, 9)
    n = len(counts)
    counts[: 2 * n // 3, y, x] = 500
    counts[n // 4, v, u] = 500
    masked, (sentence,) = look(counts)
    assert masked[:, y, x].all() and masked[:, v, u].sum() == 1 and masked.sum() == n + 1
    assert f"2 isolated pixels of the detector, in up to {n} of {n} frames" in sentence


@pytest.mark.parametrize("stop", [None, 32])
def test_a_hot_column_is_masked(stop):
    counts = crystal()
    counts[:stop, 9] += np.random.default_rng(0).poisson(3000, counts[:stop, 9].shape)
    masked, (sentence,) = look(counts)
    assert masked[:stop, 9].mean() > 0.9 and not np.delete(masked, 9, 1).any() and "lines along the rows or columns" in sentence


def test_a_direct_beam_in_one_pixel_is_named_and_stays():
    counts = crystal()
    middle = np.unravel_index(np.argmax(counts), counts.shape)
    counts[middle] *= 100
    masked, (sentence,) = look(counts)
    assert not masked.any() and "direct beam or a hot pixel" in sentence and f"({middle[0]}, {middle[1]})" in sentence


# gaps and stops stored as 0


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("width", [1, 2, 3, 6, 12])
def test_a_gap_stored_as_zero_is_masked_and_nothing_else(d, width):
    counts = crystal(d=d, size=0.2, photons=1e7)
    n = counts.shape[-1]
    where = np.zeros(counts.shape, bool)
    where[..., n // 2 + 3 : n // 2 + 3 + width, :] = True
    masked, (sentence,) = look(np.where(where, 0, counts))
    assert (masked == where).all() and f"rows {n // 2 + 3}" in sentence and "--keep-strays" in sentence
    assert look(np.where(where, 0, counts) * np.float32(1e-4))[0].sum() == masked.sum()


def test_crossing_gaps_and_a_gap_that_the_mask_covers_in_part():
    counts = crystal(size=0.25, photons=1e7)
    n = len(counts)
    where = np.zeros(counts.shape, bool)
    where[n // 2 + 4 : n // 2 + 8], where[:, n // 2 - 9 : n // 2 - 5] = True, True
    good = np.ones(where.shape, bool)
    good[n // 2 + 4 : n // 2 + 6] = False
    masked, _ = look(np.where(where, 0, counts), good)
    assert (masked == where & good).all()
    assert not look(np.where(where, 0, counts), ~where)[0].any(), "what is masked is no news"


def test_part_of_a_row_is_masked():
    """Half of a module's row that died, one pixel wide."""
    counts = crystal(size=0.25, photons=1e8)
    n = len(counts)
    counts[n // 2 + 4, n // 2 - 20 :] = 0
    masked, _ = look(counts)
    assert masked[n // 2 + 4, n // 2 - 20 : n // 2 + 10].all() and not np.delete(masked, n // 2 + 4, 0).any()


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("radius", [2, 3, 5])
def test_a_stop_stored_as_zero_is_masked(d, radius):
    counts = crystal(photons=1e8, d=d, size=0.3)
    y, x = (np.indices(counts.shape[-2:]).T - np.array(counts.shape[-2:]) // 2).T
    where = np.broadcast_to(np.hypot(y, x) <= radius, counts.shape)
    masked, _ = look(np.where(where, 0, counts))
    assert masked[where].all() and (masked & ~where)[counts > 0].sum() == 0


def test_a_stop_with_an_arm_is_masked_as_far_as_there_is_light():
    counts = crystal(photons=1e8, size=0.15)
    y, x = np.indices(counts.shape) - len(counts) // 2
    where = (np.hypot(y, x) <= 6) | ((np.abs(x) <= 2) & (y > 0))
    masked, _ = look(np.where(where, 0, counts))
    assert counts[masked & where].sum() > 0.99 * counts[where].sum() and not (masked & ~where)[counts > 0].any()


def test_margins_of_zeros_are_masked_and_the_rest_is_used():
    counts = crystal(size=0.2, photons=1e8)
    n = len(counts)
    padded = np.pad(counts[n // 4 : -n // 4, n // 4 : -n // 4], 20)
    masked, (sentence,) = look(padded)
    inside = np.zeros(padded.shape, bool)
    inside[20:-20, 20:-20] = True
    assert (masked == ~inside).all() and "margin" in sentence


def test_a_module_of_one_value_is_masked():
    counts = crystal(size=0.25)
    counts[4:16, 6:30] = 16383
    masked, (sentence,) = look(counts)
    where = np.zeros(masked.shape, bool)
    where[4:16, 6:30] = True
    assert (masked == where).all() and "16383" in sentence


def test_more_than_a_fifth_of_holes_is_asked_for():
    counts = crystal(size=0.2, photons=1e8)
    n = len(counts)
    counts[n // 2 + 4 : n // 2 + 4 + n // 4] = 0
    with pytest.raises(InputError, match="too much to be guessed at.*mask=.*keep_strays"):
        look(counts)


def test_dead_rows_between_rows_of_a_weak_pattern_are_not_guessed_at():
    """Where no photon is to be expected none is missing."""
    counts = crystal(size=0.15, photons=1e4)
    weak = np.flatnonzero(counts.sum(1) < 5)
    counts[weak[: len(weak) // 2]] = 0
    assert look(counts)[1] == []


# masks the wrong way round


def test_an_inverted_mask_is_refused():
    counts = crystal()
    bad = np.zeros(counts.shape, bool)
    bad[40:43], bad[9, 12], bad[50, 3] = True, True, True
    counts[40:43], counts[9, 12] = 0, 200_000
    assert (~pattern(counts, mask=bad).measured).sum() >= bad.sum()
    with pytest.raises(InputError, match="invert"):
        read(counts, mask=~bad)
    scattered = np.random.default_rng(0).random(counts.shape) < 0.005
    with pytest.raises(InputError, match=r"here and there.*invert"):
        read(counts, mask=~scattered)


STOPPED = {
    "counts": lambda c: c,
    "scaled": lambda c: c * np.float32(0.37),
    "square roots": np.sqrt,
    "FFT order": np.fft.ifftshift,
}


@pytest.mark.parametrize("stored", STOPPED)
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("width", [1, 3, 6])
def test_an_inverted_mask_of_the_edge_of_the_detector_is_refused_and_an_upright_one_is_not(d, width, stored):
    """As beamlines mask it: a band around each frame, and hot pixels, which the inverted mask trusts."""
    rng = np.random.default_rng(width)
    for photons in (1e5, 1e7):
        counts = crystal(photons, d, 0.3)
        bad = np.ones(counts.shape, bool)
        bad[..., width:-width, width:-width] = False
        hot = rng.random(counts.shape) < 1e-3
        values = STOPPED[stored](np.where(hot, 10 ** rng.uniform(2, 6, counts.shape), counts).astype(np.float32))
        mask = np.fft.ifftshift(bad | hot) if stored == "FFT order" else bad | hot
        with pytest.raises(InputError, match="darker than .*invert"):
            require_upright_mask(values, ~mask, "it")
        require_upright_mask(values, mask, "it")


def test_a_mask_that_leaves_a_ring_a_half_or_strewn_pixels_is_taken():
    for seed, (d, photons) in enumerate([(2, 1e3), (2, 1e6), (3, 1e4), (3, 1e7)]):
        counts = crystal(photons, d, 0.3, seed=seed)
        at = np.stack(np.meshgrid(*((np.arange(n) - n // 2) / n for n in counts.shape), indexing="ij"))
        far = np.sqrt((at**2).sum(0))
        for bad in ((far < 0.08) | (far > 0.25), far > 0.2, at[0] > -0.06, np.random.default_rng(seed).random(far.shape) < 0.7):
            assert bad.mean() > 0.5
            for values in (counts, counts + 500, np.sqrt(counts)):
                require_upright_mask(values, bad, "it")


def test_a_mask_that_hides_most_of_the_array_but_leaves_the_pattern_is_taken():
    counts = crystal(size=0.2)
    y, x = np.indices(counts.shape) - np.array(counts.shape)[:, None, None] // 2
    far = np.hypot(y, x) > 0.25 * len(counts)
    assert far.mean() > 0.6 and pattern(counts, mask=far).measured.sum() == (~far).sum()


# measured patterns


def test_measured_patterns_have_the_faults_that_they_have(measured):
    with np.load(measured("real/esrf_logo_id10_512.npz")) as file:
        counts, bad = file["intensity"], file["mask"] != 0
    assert look(np.where(bad, 0, counts), ~bad)[1] == []
    assert bad[look(counts)[0]].all(), "its stop and the patches that were cut out are stored as 0"
    with np.load(measured("real/gold_34idc_3dcdinn_64.npz")) as file:
        assert look(file["intensity"])[1] == []


@pytest.mark.parametrize("name", ["id01_maxipix_mask", "nanomax_merlin_mask"])
def test_the_gaps_of_detectors_are_seen(measured, name):
    """Their cross, stored as 0, is masked, with the peak in one quadrant."""
    bad = np.load(measured(f"detector_masks/{name}.npy")) != 0
    mean = np.fft.fftshift(np.abs(np.fft.fft2(CLASSES["complex"]((64, 64), np.random.default_rng(0)), bad.shape)) ** 2)
    counts = np.random.default_rng(0).poisson(np.roll(mean / mean.sum(), (-12, 17), (0, 1)) * 1e9).astype(np.float32)
    masked, _ = look(np.where(bad, 0, counts))
    cross = bad.all(1)[:, None] | bad.all(0)[None]
    assert masked[cross].all() and not (masked & ~bad).any()
