"""What is given by mistake, or in bad faith, is refused in one sentence, or what of it is not used is said; no warning of a library leaks.
(Every other warning is an error in these tests.)"""

from __future__ import annotations

import re
import warnings

import h5py
import numpy as np
import pytest

from nexus_files import counts
from untwin import cli
from untwin.data.read import read
from untwin.errors import GuessWarning, InputError

I = counts((32, 32)).astype(float)
V = counts((24, 24, 24)).astype(float)


def outcome(source, **options) -> tuple[str, ...]:
    """The sentences of what was read, or the one of its refusal. Any other warning or error fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", GuessWarning)
        try:
            return read(source, **options).warnings
        except InputError as error:
            return (str(error),)


def ended(capsys, *arguments: str) -> tuple[int, str]:
    """The exit code of a command and what it wrote to stderr."""
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    return int(stop.value.code or 0), capsys.readouterr().err


# numbers beyond what can be computed with


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.longdouble])
@pytest.mark.parametrize("power", [-300, -150, -37, 25, 31, 37, 150, 300])
def test_values_of_any_size_are_read_or_refused_in_a_sentence(kind, power):
    with np.errstate(all="ignore"):
        values = I.astype(kind) * kind(10.0) ** power
    for mask in (None, np.indices(I.shape)[0] < 20):
        sentences = outcome(values, mask=mask, centre=(16, 16))
        assert 25 <= power < 26 or any(
            re.search("goes up to|at most .* photons|the mask trusts|is 0 in every|NaN, inf", s) for s in sentences
        )


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint16])
@pytest.mark.parametrize("offset", [1e9, -1e9, 1e30, -1e30, 1e300, -1e300])
@pytest.mark.parametrize("gain", [None, 2.0])
def test_an_offset_far_from_the_values_is_refused(kind, offset, gain):
    (sentence,) = outcome(I.astype(kind), offset=offset, gain=gain)
    assert re.search("offset=.* is far from the array, which goes up to .*; expected what a pixel without light reads", sentence)


def test_an_offset_among_the_values_is_taken():
    with pytest.warns(GuessWarning, match="as you say"):
        assert np.array_equal(read(I + 500, offset=500, gain=1).intensity, read(I).intensity)


@pytest.mark.parametrize("gain", [1e-300, 1e-320, 1e300])
@pytest.mark.parametrize("values", [None, "amplitudes", "logarithm"])
def test_a_gain_of_any_size_is_refused_in_a_sentence(gain, values):
    (sentence,) = outcome(I, gain=gain, values=values)
    assert "photons" in sentence


# a centre that cannot be one


def test_a_centre_that_says_fft_order_of_a_centred_array_is_refused_in_the_words_of_the_command_line(tmp_path, capsys):
    np.save(tmp_path / "p.npy", I)
    code, text = ended(capsys, "inspect", str(tmp_path / "p.npy"), "--centre", "0,0")
    assert code == 2 and "centre=0,0 says FFT order" in text and "leave centre= (--centre) out" in text and "16,16" in text
    assert "np." not in text and "untwin.read" not in text
    assert outcome(np.fft.ifftshift(I), centre=(0, 0)) == () and outcome(I, centre=(16, 16)) == ()


# options that change nothing say so


def test_an_option_that_is_not_used_is_named():
    assert outcome(I, frames="sum") == ("frames=sum is not used: the array is one frame",)
    assert outcome(I, data="x") == ("data=x is not used: an array in memory has no others beside it",)
    geometry = {"energy": "8keV", "distance": 1, "pixel_size": "55um"}
    assert outcome(I, **geometry) == () and outcome(I, energy=8000) == ()
    (volume,) = outcome(V, frames="volume", **geometry)
    assert "no size of the object's pixel follows from distance and pixel_size: of a 3D pattern" in volume
    assert outcome(I, distance=1) == ("no size of the object's pixel follows from distance: wavelength and pixel_size not known",)
    assert outcome(I, energy=8000, pixel_size=5e-5) == ("no size of the object's pixel follows from pixel_size: distance not known",)


def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for k in range(3):
        np.save(f"frame_{k}.npy", I)
    for options in ({}, {"data": ""}, {"mask": ""}, {"frames": " "}):
        (sentence,) = outcome("" if not options else "frame_0.npy", **options)
        assert "is an empty text" in sentence
    assert ended(capsys, "inspect", "") == (2, "untwin: an argument is empty; a variable of the shell that is not set?\n")


# what holds arrays is none


def test_what_holds_arrays_is_told_from_an_array(tmp_path):
    np.savez(tmp_path / "a.npz", first=I, second=I)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["first"] = I
        assert outcome(file["first"]) == ()
        for source in (file, {"first": I}, np.load(tmp_path / "a.npz")):
            (sentence,) = outcome(source)
            assert re.fullmatch(
                r"this is a \w+ of first.*; give the path of its file, or the array in it, such as source\[NAME\]", sentence
            )
    with open(tmp_path / "a.npz", "rb") as file:
        assert "give the path of the file" in outcome(file)[0]
    assert "is a Pattern already" in outcome(read(I))[0]
    assert all("<U" not in outcome(source)[0] and "object object" not in outcome(source)[0] for source in (["a.npz"], object(), None))


def test_one_of_a_thing_is_not_several(tmp_path):
    flat = np.ones(I.shape)
    flat[3, 4] = 0
    assert outcome(I, flat=flat)[0].startswith("1 pixel of the flat (0.098 %) is 0, NaN")
    mask = np.zeros(I.shape)
    mask[3, 4] = np.nan
    assert outcome(I, mask=mask)[0].startswith("1 pixel of the mask array is NaN")
    (tmp_path / "frames").mkdir()
    for k in range(3):
        np.save(tmp_path / f"frames/scan_{k}.npy", I + (k == 2))
    sentences = outcome(tmp_path / "frames")
    assert any("(1 such pair)" in s for s in sentences) and not any(
        "frames frames" in s or "frames of the stack of" in s for s in sentences
    )


def test_a_folder_of_pictures_with_8_bits_is_noted_as_one_picture_is(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for k in range(2):
        image.fromarray(np.random.default_rng(k).poisson(255 * I / I.max()).clip(0, 254).astype(np.uint8)).save(tmp_path / f"scan_{k}.png")
    for source in (tmp_path, tmp_path / "scan_0.png"):
        assert any("with 8 bits (PNG): as a rule no counts" in s for s in outcome(source))
