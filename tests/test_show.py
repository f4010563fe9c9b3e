"""The figures and the report, on solutions that nobody had to solve for."""

from __future__ import annotations

import base64
import html
import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from untwin.bragg.strain import ISOSURFACE, level
from untwin.data.measurement import Geometry, Pattern, Source
from untwin.errors import InputError
from untwin.judge.resolution import Curve
from untwin.judge.trust import Verdict
from untwin.runs.solution import History, Reconstruction, Start
from untwin.show.object import compare_figure, edge_widths, plot_object
from untwin.show.pattern import plot_intensity, plot_pattern
from untwin.show.report import FIGURES, report
from untwin.show.surface import surface_of, viewed

LETTER = ("#####", "#....", "####.", "#....", "#....", "#....", "#....")


def letter_f(n: int) -> np.ndarray:
    """An F, 7 high and 5 wide, above and left of the middle: it tells every flip and transposition."""
    rows = np.array([[c == "#" for c in line] for line in LETTER])
    image = np.zeros((n, n), dtype=np.complex64)
    image[n // 2 - 5 : n // 2 + 2, n // 2 - 4 : n // 2 + 1] = rows
    return image


def intensity(image: np.ndarray, offset: tuple[float, ...]) -> np.ndarray:
    """|Σ x(r) exp(−2πi (k − offset)·r / N)|² / N^d at every detector pixel k, FFT order, by matrices."""
    wave = image.astype(complex)
    for axis, (n, s) in enumerate(zip(image.shape, offset)):
        k, r = np.fft.fftfreq(n, 1 / n), np.arange(n) - n // 2
        kernel = np.exp(-2j * np.pi * np.outer(k - s, r) / n) / math.sqrt(n)
        wave = np.moveaxis(np.tensordot(kernel, wave, (1, axis)), 0, axis)
    return np.abs(wave) ** 2


def ball(n: int) -> np.ndarray:
    z, y, x = np.ogrid[-(n // 2) : n - n // 2, -(n // 2) : n - n // 2, -(n // 2) : n - n // 2]
    body = z**2 / 36 + y**2 / 20 + x**2 / 49 < 1
    return (body * np.exp(0.2j * x)).astype(np.complex64)


def solved(image: np.ndarray, known: bool = True, offset: tuple[float, ...] = (), **changed) -> Reconstruction:
    d, image = image.ndim, image * 30
    measured = np.ones(image.shape, dtype=bool)
    measured[(slice(0, 2),) * d] = False
    counts = np.where(measured, intensity(image, offset or (0.0,) * d), 0).astype(np.float32)
    geometry = Geometry(1.4e-10, 1.0, (2e-4,) * d) if known else Geometry()
    f = np.linspace(0.02, 0.5, 24)
    fields = {
        "image": torch.from_numpy((image * np.exp(2j)).astype(np.complex64)),
        "support": torch.from_numpy(np.abs(image) > 0),
        "pattern": Pattern(counts, measured, geometry, Source(path="scan<7>.cxi", sha256="ab"), offset, warnings=("a guess",)),
        "recipe": "20*ER() + 180*HIO(beta=0.9)",
        "seed": 11,
        "positivity": False,
        "verdict": Verdict(True, "Starts agree & the data are explained."),
        "numbers": {"r_factor": 0.0123, "resolution_pixels": 2.5, "oversampling_y": 4.0, "odd_one": math.nan},
        "starts": tuple(Start(20 + i, 0.01 * i + 0.01, 100.0 + i, 35, error=0.02 if i < 3 else 0.6, twin=i == 1) for i in range(5))
        + (Start(25, math.nan, math.nan, 0, reason="died <here>"),),
        "history": tuple(History(f"start {i}", (0, 10, 20), (0.5, 0.1 + 0.01 * i, math.nan)) for i in range(3)),
        "prtf": Curve(tuple(f), tuple(1 - 1.5 * f), math.exp(-1), 0.42),
        "fsc": Curve(tuple(f), tuple(1 - f), 0.5, None),
        "mode_weights": (0.9, 0.06),
        "warnings": ("<script>alert('x')</script>", "a guess"),
    }
    return Reconstruction(**{**fields, **changed})


FLAT = {name for name in FIGURES if name not in ("isosurface", "exposures")}


@pytest.mark.parametrize(("image", "names"), [(letter_f(24), FLAT), (ball(24), set(FIGURES) - {"exposures"})], ids=["2D", "3D"])
def test_every_figure_is_in_the_page_and_on_the_disk(tmp_path, image, names):
    path = report(solved(image), tmp_path / "run" / "report.html")
    page = path.read_text("utf-8")
    assert {p.stem for p in (tmp_path / "run" / "figures").glob("*.png")} == names
    assert not list((tmp_path / "run" / "figures").glob("*.pdf"))  # which take as long again: only where they are asked for
    assert sorted(p.name for p in path.parent.iterdir()) == ["figures", "report.html"]  # nothing temporary is left
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == len(names)
    assert all(base64.b64decode(p).startswith(b"\x89PNG") for p in pictures)
    assert page.count('class="zoom"') == page.count("<figcaption>") == len(names)
    assert all(re.findall(r'<img alt="([^"]*)" width', page))
    assert path.stat().st_size < 5e6


@pytest.fixture
def one_figure(monkeypatch):
    """A page with one picture instead of eight, for tests of its words."""
    monkeypatch.setattr("untwin.show.report.FIGURES", {"profiles": FIGURES["profiles"]})


def test_a_report_asks_the_network_for_nothing(tmp_path, one_figure):
    page = report(solved(letter_f(24)), tmp_path / "report.html").read_text("utf-8")
    assert all(target.startswith("data:") for target in re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page))
    assert not re.search(r"https?:|@import|url\(|<link|<iframe|import\(|fetch\(|XMLHttp", page)
    assert "default-src 'none'; img-src data:;" in html.unescape(page) and re.findall(r"<script([^>]*)>", page) == [""]


def test_text_of_others_cannot_write_into_the_page(tmp_path, one_figure):
    page = report(solved(letter_f(24)), tmp_path / "report.html").read_text("utf-8")
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page
    assert "scan&lt;7&gt;.cxi" in page and "died &lt;here&gt;" in page and "agree &amp; the data" in page
    assert page.count("a guess") == 1  # said twice, listed once


@pytest.mark.parametrize(("trusted", "words"), [(True, "Trusted"), (False, "Do not trust"), (None, "Cannot say")])
def test_the_verdict_is_on_top_in_words(tmp_path, one_figure, trusted, words):
    solution = solved(letter_f(16), verdict=Verdict(trusted, "Because."), starts=(), history=(), prtf=None, fsc=None, numbers={})
    page = report(solution, tmp_path).read_text("utf-8")  # a folder gets report.html
    assert page.index(words) < page.index("Because.") < page.index("<img")


def test_a_letter_f_keeps_its_orientation_and_its_sign():
    image = letter_f(24)
    figure = plot_object(solved(image))
    magnitude, phase, both = (axis.get_images()[0] for axis in figure.axes[:3])
    for drawn in (magnitude, phase, both):
        assert drawn.origin == "upper"
        assert drawn.axes.get_ylim()[0] > drawn.axes.get_ylim()[1] and drawn.axes.get_xlim()[0] < drawn.axes.get_xlim()[1]
    np.testing.assert_allclose(magnitude.get_array(), 30 * np.abs(image), rtol=1e-5)
    shown = phase.get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), np.abs(image) == 0)
    np.testing.assert_allclose(shown.compressed(), 0, atol=1e-5)  # a positive object comes out positive
    assert (both.get_array()[np.abs(image) == 0] == 0).all()


def test_central_planes_of_a_volume_are_its_planes():
    image = ball(24)
    image[12, 8, 6] = 3.0
    panels = plot_object(solved(image)).axes
    for axis, plane in zip(panels[:3], [image[12], image[:, 12], image[:, :, 12]]):
        assert axis.get_images()[0].origin == "upper"
        np.testing.assert_allclose(axis.get_images()[0].get_array(), 30 * np.abs(plane), rtol=1e-4)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.5, 0.0), (0.5, 0.5)])
def test_the_truth_leaves_no_residual(offset):
    figure = plot_intensity(solved(letter_f(24), offset=offset))
    measured, calculated, residual = (axis.get_images()[0].get_array() for axis in figure.axes[:3])
    np.testing.assert_allclose(residual.compressed(), 0, atol=2e-2)
    hidden = np.zeros((24, 24), dtype=bool)
    hidden[12:14, 12:14] = True  # the unmeasured corner, with the zero frequency in the middle
    np.testing.assert_array_equal(np.ma.getmaskarray(measured), hidden)
    np.testing.assert_array_equal(np.ma.getmaskarray(residual), hidden)
    assert not np.ma.getmaskarray(calculated).any()


def test_the_eye_sees_right_handed_axes():
    for turn in (0.0, 25.0, 205.0):
        seen = viewed(np.eye(3), turn)
        np.testing.assert_allclose(seen @ seen.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(seen) == pytest.approx(1)
    assert viewed(np.eye(3), 0.0)[0] == pytest.approx([1, 0, 0])  # x is to the right, as in the planes


def test_the_surface_of_a_body_is_where_half_of_it_begins():
    image = solved(ball(24)).image.numpy()
    half = ISOSURFACE * level(image, np.abs(image) > 0)
    assert half == pytest.approx(15, rel=1e-3)
    surface = surface_of(image, half, np.diag([1.0, 1.0, 2.0])[:, ::-1])
    assert surface is not None
    np.testing.assert_allclose(surface.points.mean(0), [24, 12, 12], atol=0.3)  # x, y, z in nm
    np.testing.assert_allclose(np.ptp(surface.points, axis=0) / 2, [2 * 6.5, 4.5, 5.5], atol=0.1)


def test_edge_widths_are_told_only_where_there_is_an_edge():
    at = np.arange(60)
    soft = np.clip((at - 10) / 5, 0, 1) * np.clip((50 - at) / 10, 0, 1)
    assert edge_widths(soft) == (pytest.approx(4.0), pytest.approx(8.0))
    assert edge_widths(soft[::-1]) == (pytest.approx(8.0), pytest.approx(4.0))
    assert edge_widths(np.abs(np.sin(at / 3))) == (None, None)
    assert edge_widths(np.ones(60)) == (None, None)
    assert edge_widths(np.zeros(60)) == (None, None)


def test_what_does_not_apply_is_left_out():
    bare = solved(letter_f(16), starts=(), history=(), prtf=None, fsc=None, numbers={}, mode_weights=(), known=False)
    drawn = {name for name, drawing in FIGURES.items() if drawing.draw(bare) is not None}
    assert drawn == {"object", "intensity", "magnitude", "profiles"}


def test_an_empty_solution_is_drawn_too():
    some = solved(ball(16), known=False)
    nothing = replace(some, image=0 * some.image, support=torch.zeros_like(some.support))
    drawn = {name for name, drawing in FIGURES.items() if drawing.draw(nothing) is not None}
    assert drawn == {"object", "intensity", "convergence", "starts", "resolution"}


def test_a_report_that_cannot_be_written_says_so(tmp_path, one_figure):
    (tmp_path / "figures").write_text("a file where a folder should be")
    with pytest.raises(InputError, match="cannot write .*figures"):
        report(solved(letter_f(16)), tmp_path / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["figures"]


def test_two_objects_are_shown_in_one_phase():
    a, b = letter_f(24) * np.exp(1j), letter_f(24) * np.exp(1.2j)
    drawn = [axis.get_images()[0].get_array() for axis in compare_figure(a, b, (1e-9, 2e-9)).axes[:6]]
    np.testing.assert_allclose(drawn[2], np.abs(a - b), atol=1e-6)
    np.testing.assert_allclose(drawn[3].compressed(), -0.1, atol=1e-5)
    np.testing.assert_allclose(drawn[5].compressed(), -0.2, atol=1e-5)
    volume = compare_figure(ball(24), ball(24)).axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(volume, np.abs(ball(24)[12]), rtol=1e-6)


@pytest.mark.parametrize("image", [letter_f(24), ball(24)], ids=["2D", "3D"])
def test_a_pattern_alone_can_be_drawn(image, tmp_path):
    pattern = solved(image).pattern
    figure = plot_pattern(pattern)
    drawn = [axis.get_images()[0].get_array() for axis in figure.axes if axis.get_images()]
    figure.savefig(tmp_path / "pattern.png")
    intensity, middle = np.fft.fftshift(pattern.intensity), 12
    planes = [intensity] if image.ndim == 2 else [intensity[middle], intensity[:, middle], intensity[:, :, middle]]
    for shown, plane in zip(drawn, planes, strict=True):
        np.testing.assert_array_equal(shown.filled(0), plane)


def test_matplotlib_waits_until_something_is_drawn():
    code = "import sys, untwin.show.report; print([m in sys.modules for m in ('matplotlib', 'torch')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[False, False]"
