"""geometry.toml: what is written reads back as the row that it was begun with, and what contradicts itself is refused."""

from __future__ import annotations

import pytest

from untwin.bragg.beamlines import TABLE
from untwin.bragg.geometry_file import geometry_text, read_geometry
from untwin.errors import InputError


def written(tmp_path, text):
    path = tmp_path / "geometry.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("key", TABLE)
def test_a_new_file_states_the_row_that_it_was_begun_with(tmp_path, key):
    row = TABLE[key]
    stated = read_geometry(written(tmp_path, geometry_text(row, key)))
    d = stated.diffractometer
    assert (d.sample, d.detector, d.slow, d.fast) == (row.sample, row.detector, row.slow, row.fast)
    assert stated.angles == {c.name: c.name for c in (*row.sample, *row.detector)}


def test_angles_are_numbers_ranges_or_columns_of_the_log(tmp_path):
    text = (
        'rows = "y-"\ncolumns = "x+"\nenergy = "9 keV"\ndistance = "500 mm"\npixel_size = ["55 um", "75 um"]\nmonitor = "ic3"\n'
        '[[sample]]\nname = "theta"\naxis = "y+"\nangle = { start = -0.28, step = 0.005 }\n'
        '[[sample]]\nname = "chi"\naxis = "z-"\nangle = 90\n[[detector]]\nname = "delta"\naxis = "y+"\nangle = "Delta"\n'
    )
    stated = read_geometry(written(tmp_path, text))
    assert stated.angles == {"theta": (-0.28, 0.005), "chi": 90.0, "delta": "Delta"}
    assert stated.energy == pytest.approx(9000) and stated.monitor == "ic3"
    assert stated.distance == pytest.approx(0.5)
    assert stated.pixel_size == pytest.approx((55e-6, 75e-6))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('rows = "y-"\ncolumns = "y+"\n[[sample]]\nname = "a"\naxis = "y+"\n', "two different axes"),
        ('rows = "y-"\ncolumns = "x+"\npicture = "as seen from the sample"\n[[sample]]\nname = "a"\naxis = "y+"\n', "contradicts itself"),
        ('rows = "y-"\ncolumns = "x+"\n[[sample]]\nname = "a"\naxis = "up"\n', "no direction"),
        ('rows = "y-"\n[[sample]]\nname = "a"\naxis = "y+"\n', "columns is missing"),
        ('rows = "y-"\ncolumns = "x+"\ncolour = 3\n[[sample]]\nname = "a"\naxis = "y+"\n', "colour is not known"),
        ('rows = "y-"\ncolumns = "x+"\nenergy = 9\n[[sample]]\nname = "a"\naxis = "y+"\n', "energy"),
        ('rows = "y-"\ncolumns = "x+"\n', "sample"),
        ("rows = [", "not TOML"),
        (
            'rows = "y-"\ncolumns = "x+"\ntwo_theta = 60\n[[sample]]\nname = "a"\naxis = "y+"\n[[detector]]\nname = "d"\naxis = "y+"\n'
            "angle = 32\n",
            "contradicts itself",
        ),
        ('rows = "y-"\ncolumns = "x+"\n[[sample]]\nname = "a"\naxis = "y+"\n[[sample]]\nname = "a"\naxis = "x+"\n', "two circles"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, expected):
    with pytest.raises(InputError, match=expected):
        read_geometry(written(tmp_path, text))


def test_two_statements_that_agree_are_taken(tmp_path):
    text = (
        'rows = "y-"\ncolumns = "x+"\npicture = "as seen from behind"\ntwo_theta = 34.3\n[[sample]]\nname = "a"\naxis = "y+"\n'
        '[[detector]]\nname = "delta"\naxis = "y+"\nangle = 32.174\n[[detector]]\nname = "gamma"\naxis = "x-"\nangle = 12.6346\n'
    )
    assert read_geometry(written(tmp_path, text)).angles["gamma"] == 12.6346
