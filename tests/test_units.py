"""Numbers with units, from files and from users; and what cannot be is doubted."""

from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest

from nexus_files import counts, group, nexus, quiet
from untwin.config import resolved
from untwin.data import units
from untwin.data.cxi import write_pattern
from untwin.data.measurement import Geometry
from untwin.data.read import read
from untwin.errors import GuessWarning, InputError
from untwin.runs.archive import settings
from untwin.runs.reconstruct import reconstruct

I = counts()
EV = 1.602176634e-19
PIXELS = (1.2398419843e-10 * 2 / (64 * 55e-6), 1.2398419843e-10 * 2 / (48 * 75e-6))  # of the object at 10 keV, 2 m


@pytest.mark.parametrize(
    ("text", "kind", "si"),
    [
        ("m", "length", 1), ("mm", "length", 1e-3), ("cm", "length", 1e-2), ("um", "length", 1e-6), ("\u00b5m", "length", 1e-6),
        ("\u03bcm", "length", 1e-6), ("micron", "length", 1e-6), ("Microns", "length", 1e-6), ("nm", "length", 1e-9),
        ("angstrom", "length", 1e-10), ("Angstroms", "length", 1e-10), ("\u00c5", "length", 1e-10), ("\u212b", "length", 1e-10),
        ("pm", "length", 1e-12), (" metres ", "length", 1), ("eV", "energy", EV), ("KeV", "energy", 1e3 * EV), ("MeV", "energy", 1e6 * EV),
        ("meV", "energy", 1e-3 * EV), ("J", "energy", 1), ("GeV", "energy", 1e9 * EV),
        ("ms", "length", None), ("s", "length", None), ("MEV", "energy", None), ("m", "energy", None), ("eV", "length", None),
    ],
)  # fmt: skip
def test_units_of_lengths_and_energies(text, kind, si):
    assert units.factor(text, kind) == (None if si is None else pytest.approx(si))


@pytest.mark.parametrize("attribute", ["mm", b"mm", np.bytes_("mm"), np.array(["mm"], dtype="S2"), np.array(["mm"], dtype=object)])
def test_units_are_texts_however_they_are_stored(tmp_path, attribute):
    with nexus(tmp_path / "a.nxs", I, distance=1500.0) as f:
        f["entry/instrument/eiger/distance"].attrs["units"] = attribute
    assert read(tmp_path / "a.nxs").geometry.distance == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("name", "value", "si"),
    [("distance", 1.5, 1.5), ("distance", 2000.0, 2.0), ("pixel", 55e-6, 55e-6), ("pixel", 55.0, 55e-6), ("pixel", 0.172, 172e-6)],
)
def test_without_units_a_number_is_si_unless_it_cannot_be(tmp_path, name, value, si):
    values = {"distance": value} if name == "distance" else {"x_pixel_size": value, "y_pixel_size": value}
    nexus(tmp_path / "a.nxs", I, **values).close()
    p = quiet(tmp_path / "a.nxs")
    g = p.geometry
    assert (g.distance or (g.pixel_size or (0,))[0]) == pytest.approx(si)
    assert len(p.warnings) == (0 if value == si else len(values)) and all("which is impossible; taken as" in w for w in p.warnings)


def test_units_that_nobody_knows_are_said_and_their_number_is_not_used(tmp_path):
    nexus(tmp_path / "a.nxs", I, distance=(2.0, "furlong")).close()
    with pytest.warns(GuessWarning, match="distance = 2 has units 'furlong', which are not known"):
        assert read(tmp_path / "a.nxs").geometry.distance is None


def test_what_cannot_be_is_doubted():
    good = Geometry(1e-10, 2.0, (55e-6, 75e-6))
    assert units.doubts(good, (64, 48)) == [] and units.doubts(good, (30, 64, 48)) == []
    assert units.doubts(Geometry(), (64, 48)) == []
    for g, word in (
        (Geometry(1e-10, 2000.0, (55e-6, 55e-6)), "2000 m away"),
        (Geometry(1e-10, 2e-3, (55e-3, 55e-3)), "below 10 mm"),
        (Geometry(1e-10, 2e-6, (55e-6, 55e-6)), "the object's pixel is"),
        (Geometry(1e-10, 2.0, (55e-15, 55e-15)), "between 1 angstrom and 1 mm"),
    ):
        assert any(word in sentence for sentence in units.doubts(g, (64, 64)))


# options


@pytest.mark.parametrize("distance", ["2m", "2000 mm", 2, np.float32(2)])
@pytest.mark.parametrize(
    "light",
    [
        {"energy": "10keV"},
        {"energy": 10_000},
        {"energy": "10000"},
        {"wavelength": "1.2398419843angstrom"},
        {"wavelength": 1.2398419843e-10},
    ],
)
@pytest.mark.parametrize("pixel", ["55um,75um", (55e-6, "75um"), np.array([55e-6, 75e-6])])
def test_options_give_sizes_where_the_file_has_none(light, distance, pixel):
    p = read(I, **light, distance=distance, pixel_size=pixel)
    assert p.voxel_size == pytest.approx(PIXELS, rel=1e-6) and p.warnings == ()


def test_options_come_before_the_file_which_is_said_where_they_differ(tmp_path):
    nexus(tmp_path / "a.nxs", I, distance=(2000.0, "mm"), x_pixel_size=(55.0, "um"), y_pixel_size=(55.0, "um")).close()
    assert read(tmp_path / "a.nxs", distance="2m", energy="8keV").warnings == ()
    with pytest.warns(GuessWarning, match=r"the file's distance \(2 m\) is not used, because 1.5 m was given"):
        p = read(tmp_path / "a.nxs", distance=1.5, energy="8keV")
    assert (
        p.geometry.distance == 1.5
        and p.geometry.pixel_size == pytest.approx((55e-6, 55e-6))
        and p.source.options == {"distance": 1.5, "energy": "8keV"}
    )


def test_the_stored_pattern_of_untwin_stays_as_it_is_in_another_geometry(tmp_path):
    p = read(I, energy="10keV", distance=2, pixel_size="55um,75um")
    path = write_pattern(tmp_path / "p.cxi", p, process={})
    with pytest.warns(GuessWarning, match="the file's distance"):
        q = read(path, distance="3m")
    np.testing.assert_array_equal(q.intensity, p.intensity)
    assert q.geometry.distance == 3 and q.geometry.wavelength == p.geometry.wavelength and q.offset == p.offset


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"energy": 8.5}, "8.5 eV is no energy of X-rays.*8.5keV"), ({"energy": "8.5kg"}, "'kg' is no unit of energy"),
        ({"energy": True}, "expected a number above 0"), ({"energy": "8keV", "wavelength": "1nm"}, "say the same twice"),
        ({"distance": 2000}, "expected below 100 m, such as 2m or 2000mm"), ({"distance": "-2m"}, "above 0"),
        ({"distance": "nan"}, "above 0"), ({"distance": "1e400"}, "above 0"), ({"distance": [2]}, "above 0"),
        ({"pixel_size": 55}, "below 10 mm, such as 55um"), ({"pixel_size": "55um,75um,1um"}, "3 sizes; expected one or two"),
        ({"pixel_size": ""}, "empty text"), ({"wavelength": 1.5}, "is no light"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_have_a_clear_message(options, match):
    with pytest.raises(InputError, match=match):
        read(I, **options)


def test_the_command_line_gives_nanometres_and_repeats_its_options(tmp_path):
    np.save(tmp_path / "a.npy", I)
    options = ["--energy", "10keV", "--distance", "2m", "--pixel-size", "55um,75um"]
    command = [sys.executable, "-m", "untwin", "inspect", "a.npy", *options]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "object pixel  70.4 x 68.9 nm" in out and " ".join(options) in out


def test_a_run_repeats_the_geometry_that_was_named(tmp_path):
    np.save(tmp_path / "a.npy", I)
    p = read(tmp_path / "a.npy", energy="10keV", distance=2, pixel_size=[55e-6, 75e-6])
    table = settings(reconstruct(p, "2*ER", starts=1, workers=1))
    run = resolved(None, table)
    assert read(run.file, **run.reading()).geometry == p.geometry


def test_a_number_that_stands_for_many_is_read_and_one_that_varies_is_not(tmp_path):
    with nexus(tmp_path / "a.nxs", I) as f:
        group(f["entry/instrument"], "m", "NXmonochromator", wavelength=(np.full(9, 1.5), "angstrom"))
    assert read(tmp_path / "a.nxs").geometry.wavelength == pytest.approx(1.5e-10)
    with h5py.File(tmp_path / "a.nxs", "r+") as f:
        f["entry/instrument/m/wavelength"][3] = 1.6
    assert quiet(tmp_path / "a.nxs").geometry.wavelength is None
