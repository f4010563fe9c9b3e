"""Grids of Nanonis: written here as its manual has them, read back; damaged ones are sentences."""

import numpy as np
import pytest

from untwin.cli import main
from untwin.data.maps import read_maps
from untwin.data.nanonis import read_header
from untwin.errors import GuessWarning, InputError
from untwin.simulate.interference import quasiparticles

CHANNELS = ("Current (A)", "LI Demod 1 X (A)", "Current [bwd] (A)", "LI Demod 1 X [bwd] (A)")
SWEEP = (-0.1, 0.2)


def write_3ds(path, spectra, channels=CHANNELS, sweep=SWEEP, points=None, dim=None, fixed=("Sweep Start", "Sweep End")):
    """spectra: (rows, columns, channels, points), the bottom line first."""
    rows, columns, _, n = spectra.shape
    parameters = [*fixed, "X (m)", "Y (m)", "Z (m)"]
    header = [
        f'Grid dim="{dim or f"{columns} x {rows}"}"',
        "Grid settings=0.000000E+0;0.000000E+0;5.000000E-8;5.000000E-8;0.000000E+0",
        'Filetype="Linear"',
        'Sweep Signal="Bias (V)"',
        'Fixed parameters="Sweep Start;Sweep End"',
        'Experiment parameters="X (m);Y (m);Z (m)"',
        f"# Parameters (4 byte)={len(parameters)}",
        f"Experiment size (bytes)={4 * n * len(channels)}",
        f"Points={n if points is None else points}",
        f'Channels="{";".join(channels)}"',
        "Delay before measuring (s)=0.000000E+0",
        'Experiment="Grid Spectroscopy"',
        'Start time="01.02.2026 10:11:12"',
        'End time="01.02.2026 20:21:22"',
        "User=",
        'Comment="a = b"',
        ":HEADER_END:",
    ]
    pixel = np.zeros((rows, columns, len(parameters)))
    pixel[..., : len(fixed)] = sweep[: len(fixed)]
    values = np.concatenate([pixel, spectra.reshape(rows, columns, -1)], -1).astype(">f4")
    path.write_bytes("\r\n".join(header).encode() + b"\r\n" + values.tobytes())
    return path


@pytest.fixture
def spectra():
    return np.random.default_rng(0).standard_normal((10, 12, len(CHANNELS), 31))


def test_a_grid_comes_back_upright(tmp_path, spectra):
    path = write_3ds(tmp_path / "grid.3ds", spectra)
    header = read_header(path)
    assert header.shape == (10, 12) and header.channels == CHANNELS and header.limits == pytest.approx(SWEEP)
    with pytest.warns(GuessWarning) as caught:
        maps = read_maps(path)
    text = " ".join(str(w.message) for w in caught)
    assert "LI Demod 1 X (A)" in text and "31 points" in text
    assert maps.values.shape == (12, 10, 12) and maps.measured.all()
    first = np.array_split(np.arange(31), 12)[0]
    np.testing.assert_allclose(maps.values[0], spectra[::-1, :, 1][..., first].mean(-1), atol=1e-6)


def test_channel_and_energies_are_chosen(tmp_path, spectra):
    path = write_3ds(tmp_path / "grid.3ds", spectra)
    maps = read_maps(path, channel="current", energies=(0.2, -0.1, 0.101))
    assert maps.names == ("-0.1 V", "0.1 V", "0.2 V")
    np.testing.assert_allclose(maps.values, np.moveaxis(spectra[::-1, :, 0][..., [0, 20, 30]], -1, 0), atol=1e-6)
    with pytest.raises(InputError, match="has no channel 'height'.*LI Demod"):
        read_maps(path, channel="height")
    with pytest.raises(InputError, match="sweep goes from -0.1 to 0.2 V"):
        read_maps(path, channel="current", energies=(5.0,))


def test_without_a_lock_in_the_current_is_differentiated(tmp_path):
    bias = np.linspace(*SWEEP, 31)
    spectra = np.broadcast_to(3 * bias + 1, (8, 9, 1, 31))
    with pytest.warns(GuessWarning, match="derivative of Current"):
        maps = read_maps(write_3ds(tmp_path / "grid.3ds", spectra, channels=CHANNELS[:1]), energies=(0.0, 0.1))
    np.testing.assert_allclose(maps.values, 3, rtol=1e-3)


def test_lines_that_were_not_measured_are_left_out(tmp_path, spectra):
    path = write_3ds(tmp_path / "grid.3ds", spectra)
    pixel = 4 * (5 + 31 * 4)
    path.write_bytes(path.read_bytes()[: -int(2.5 * 12 * pixel)])
    with pytest.warns(GuessWarning, match="7 of 10 lines"):
        maps = read_maps(path, channel="current", energies=(0.0,))
    np.testing.assert_allclose(maps.values[0], spectra[:7][::-1, :, 0, 10], atol=1e-6)


def test_pixels_that_are_not_numbers_are_not_measured(tmp_path, spectra):
    spectra[2, 3] = np.nan
    with pytest.warns(GuessWarning, match="1 pixels are NaN"):
        maps = read_maps(write_3ds(tmp_path / "grid.3ds", spectra), channel="current", energies=(0.0,))
    assert not maps.measured[7, 3] and maps.measured.sum() == 119 and np.isfinite(maps.values).all()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"dim": "12"}, "Grid dim"),
        ({"dim": "999999 x 999999"}, "cut short"),
        ({"dim": "0 x 4"}, "1 of each"),
        ({"points": 9_999_999}, "cut short"),
        ({"points": -1}, "whole number"),
        ({"points": "1e9"}, "whole number"),
        ({"channels": ()}, "0 channels"),
    ],
)
def test_a_header_that_lies_is_a_sentence(changes, words, tmp_path, spectra):
    chosen = spectra[:, :, : len(changes.get("channels", CHANNELS))]
    with pytest.raises(InputError, match=words):
        read_header(write_3ds(tmp_path / "grid.3ds", chosen, **changes))


def test_other_files_are_refused(tmp_path):
    for content in (b"", b"\0" * 2000, b'Grid dim="4 x 4"\r\n'):
        (tmp_path / "bad.3ds").write_bytes(content)
        with pytest.raises(InputError, match="HEADER_END"):
            read_maps(tmp_path / "bad.3ds")


def test_a_grid_is_deconvolved(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    drawn = quasiparticles((48, 48), channels=3, size=9, density=0.012, seed=3)
    spectra = np.moveaxis(drawn.values[:, ::-1], 0, -1)[:, :, None]
    write_3ds(tmp_path / "grid.3ds", spectra, channels=("LI Demod 1 X (A)",))
    with pytest.raises(SystemExit) as end:
        main(["deconvolve", "grid.3ds", "--size", "9", "-o", "out"])
    assert not end.value.code
    assert "3 channels" in capsys.readouterr().out
    assert "0.05 V" in (tmp_path / "out" / "summary.json").read_text()
