"""The page: one count of everything, figures whose words fit, an orientation that is said and stays outside of what is stored."""

from __future__ import annotations

import html
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import untwin.show.report as pages
from test_show import LETTER, ball, letter_f, solved
from untwin.errors import InputError
from untwin.judge.trust import Verdict
from untwin.runs.solution import StageEnd, Start
from untwin.show.numbers import number_rows
from untwin.show.object import loose_support, plot_object, plot_profiles
from untwin.show.orientation import Orientation, twin_of
from untwin.show.report import FIGURES, report
from untwin.show.runs import agreement_text, plot_convergence, plot_resolution, plot_starts
from untwin.show.style import phase_limit
from untwin.show.view import object_view


def text_of(page: str) -> str:
    """The words of a page, as a reader sees them."""
    page = re.sub(r"(?s)<script.*?</script>|<style.*?</style>", "", page)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.fixture
def words(tmp_path, monkeypatch):
    """The words of a report that draws nothing."""
    monkeypatch.setattr(pages, "FIGURES", {k: replace(d, draw=lambda *a, **k: None, view=None) for k, d in FIGURES.items()})
    return lambda solution, **options: text_of(report(solution, tmp_path, **options).read_text("utf-8"))


def starts(alike: int, others: int, twins: int, failed: int) -> tuple[Start, ...]:
    """Every start that is not like the object is a twin of something, too; children and candidates that failed are no starts."""
    like = [Start(i, 0.01, 100.0 + i, 35, error=0.02, twin=i < twins) for i in range(alike)]
    other = [Start(100 + i, 0.02, 200.0 + i, 35, error=0.6, twin=True) for i in range(others)]
    dead = [Start(200 + i, math.nan, math.inf, 0, reason="NaN") for i in range(failed)]
    return (*like, *other, *dead, Start(300, math.nan, math.inf, 0, reason="NaN", role="child"))


@pytest.mark.parametrize(("alike", "others", "twins", "failed"), [(0, 8, 0, 0), (5, 3, 2, 1), (3, 0, 3, 0), (1, 1, 0, 2)])
def test_starts_are_counted_in_one_way(words, tmp_path, alike, others, twins, failed):
    numbers = {"starts": alike + others, "starts_agreeing": alike, "twins_turned": twins, "families": 2, "families_agreeing": 2}
    solution = solved(letter_f(16), starts=starts(alike, others, twins, failed), numbers=numbers)
    title = agreement_text(solution)
    assert title[0].startswith(f"{alike} of {alike + others} single starts")
    assert (f", {twins} of them as its twin" in title[0]) == bool(twins) and (f"; {failed} failed" in title[0]) == bool(failed)
    assert title[1].startswith("after all stages 2 of 2 families")
    figure = plot_starts(solution)
    assert figure.get_suptitle() == "\n".join(title)
    marks = {line.get_label(): len(line.get_xdata()) for line in figure.axes[0].get_lines()}
    assert sorted(marks.values()) == sorted([alike, others, twins])
    page = words(solution)
    assert (
        page.count("✔ like the object shown") == alike and page.count("as its twin") == twins and page.count("✘ another object") == others
    )
    assert f"starts {alike + others} " in page and f"starts that agree {alike} " in page and f"twins {twins} " in page


@pytest.mark.parametrize("trusted", [True, False, None])
def test_resolution_is_shown_where_the_result_is_trusted(words, trusted):
    solution = solved(letter_f(16), verdict=Verdict(trusted, "Because."), numbers={"resolution_pixels": 2.5, "first_mode_weight": 0.9})
    assert (plot_resolution(solution) is not None) == (trusted is True)
    assert {row["title"] for row in number_rows(solution)} == ({"resolution, full period", "first mode"} if trusted else set())
    page = words(solution)
    assert ("may be similar and wrong" in page) == (trusted is not True)
    assert ("2.5" in page) == (trusted is True)


def test_the_stages_that_made_the_result_are_drawn(words):
    course = (
        StageEnd("Search", (0.05, 0.06)),
        StageEnd("Guide", (0.04, 0.05)),
        StageEnd("Reserve", (0.04, 0.05)),
        StageEnd("Refine", (0.02,)),
    )
    solution = solved(letter_f(16), course=course, numbers={"r_factor": 0.0213})
    figure = plot_convergence(solution)
    lowest = next(line for line in figure.axes[1].get_lines() if line.get_label() == "the lowest")
    np.testing.assert_allclose(lowest.get_ydata(), [0.05, 0.04, 0.02])  # the reserve has changed nothing
    assert [t.get_text() for t in figure.axes[1].get_xticklabels()] == ["starts", "guided", "refined", "shown"]
    assert "0.0213" in figure.get_suptitle()
    assert "were not recorded" not in words(solution) and "were not recorded" in words(solved(letter_f(16)))


@pytest.mark.parametrize("image", [letter_f(24), ball(24)], ids=["2D", "3D"])
@pytest.mark.parametrize("name", [n for n in FIGURES if n != "exposures"])
def test_words_of_a_figure_stay_inside_and_titles_apart(name, image):
    """At the size that a figure has in the page: a title that is cut off, or runs into its neighbour, tells nothing."""
    course = tuple(
        StageEnd(s, (0.05 - 0.004 * i,)) for i, s in enumerate(("Search", "Guide", "Reserve", "Release", "Finish", "Strays", "Refine"))
    )
    numbers = {"r_factor": 0.0123, "families": 2.0, "families_agreeing": 2.0}
    solution = solved(image, course=course, numbers=numbers, fsc=replace(solved(letter_f(16)).prtf, crossing=None))
    drawing = FIGURES[name]
    figure = drawing.draw(solution, **({"shown": Orientation(twin=True, flip="yx")} if drawing.oriented else {}))
    if figure is None:
        assert name == "isosurface" and image.ndim == 2
        return
    figure.canvas.draw()
    sheet = figure.bbox
    artists = [
        figure._suptitle,
        *(a.title for a in figure.axes),
        *(a.xaxis.label for a in figure.axes),
        *(a.yaxis.label for a in figure.axes),
    ]
    boxes = [(t.get_text(), t.get_window_extent()) for t in artists if t is not None and t.get_text() and t.get_visible()]
    for text, box in boxes:
        assert box.x0 >= -1 and box.x1 <= sheet.x1 + 1 and box.y0 >= -1 and box.y1 <= sheet.y1 + 1, text
    titles = [(a.title.get_text(), a.title.get_window_extent()) for a in figure.axes if a.title.get_text()]
    for i, (text, box) in enumerate(titles):
        assert not any(box.overlaps(other) for _, other in titles[:i]), text


# phase, density, support


def test_a_small_phase_has_a_scale_of_its_own_and_one_that_wraps_is_cyclic():
    inside = np.ones((20, 20), bool)
    ramp = np.linspace(-1, 1, 400).reshape(20, 20)
    for size, limit in [(0.012, 0.012), (0.11, 0.12), (0.9, 1.0), (1.5, 1.5), (2.0, math.pi), (3.1, math.pi), (0.0, 0.01)]:
        assert phase_limit(np.exp(1j * size * ramp), inside) == pytest.approx(limit, rel=0.02)
    small = solved(letter_f(24) * np.exp(0.1j * np.linspace(-1, 1, 24)))
    drawn = plot_object(small).axes[1].get_images()[0]
    assert drawn.get_clim() == (-0.025, 0.025) and 0.012 < np.abs(drawn.get_array()).max() < 0.025
    assert plot_object(solved(ball(24) ** 2)).axes[3].get_images()[0].get_clim() == (-math.pi, math.pi)


def test_density_is_relative_to_the_bulk():
    [bar] = plot_object(solved(letter_f(24))).axes[0].child_axes
    assert "(1: the bulk, 30 √intensity)" in bar.get_ylabel()  # the letter is 30 high
    at = {t.get_text(): y for t, y in zip(bar.get_yticklabels(), bar.get_yticks())}
    assert at["1"] == pytest.approx(30, rel=1e-3)


def test_a_loose_support_is_said_and_a_tight_one_is_not():
    tight = solved(letter_f(24))
    loose = replace(tight, support=torch.ones_like(tight.support))
    assert loose_support(tight) == "" and loose_support(loose).startswith(f"{100 * (1 - 14 / 576):.0f} % of the support")
    assert sum(row.count("#") for row in LETTER) == 14


# orientation


def test_a_flip_turns_the_axes_and_not_the_object():
    solution = solved(letter_f(24))
    plain, flipped = plot_object(solution), solution.plot(flip="y")
    for a, b in zip(plain.axes[:3], flipped.axes[:3]):
        np.testing.assert_array_equal(a.get_images()[0].get_array(), b.get_images()[0].get_array())
        assert a.get_ylim() == b.get_ylim()[::-1] and a.get_xlim() == b.get_xlim()
        assert (a.get_ylabel(), b.get_ylabel(), b.get_xlabel()) == ("y\n↓", "y\n↑", "x →")
    both = solution.plot(flip="yx").axes[0]
    assert both.get_xlim()[0] > both.get_xlim()[1] and both.get_xlabel() == "← x"
    profiles = plot_profiles(solution, Orientation(flip="x")).axes
    assert profiles[0].get_xlim()[0] < profiles[0].get_xlim()[1] and profiles[1].get_xlim()[0] > profiles[1].get_xlim()[1]


@pytest.mark.parametrize("shape", [(24, 24), (17, 24), (9, 8, 11)])
def test_the_twin_has_the_same_far_field_and_its_twin_is_the_object(shape):
    rng = np.random.default_rng(3)
    x = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    y = twin_of(x)
    far = lambda v: np.abs(np.fft.fftn(np.fft.ifftshift(v)))  # noqa: E731
    np.testing.assert_allclose(far(y), far(x), rtol=1e-4, atol=1e-4)
    middle = tuple(n // 2 for n in shape)
    assert y[middle] == np.conj(x[middle]) and not np.allclose(y, x)
    np.testing.assert_array_equal(twin_of(y), x)


def test_the_page_says_how_the_object_is_shown_and_stores_nothing(words):
    solution = solved(letter_f(24))
    before = solution.image.clone()
    assert "Shown:" not in words(solution)
    page = words(solution, twin=True, flip="x")
    assert "Shown: the twin of the stored object" in page and "the axis x flipped" in page and "stays as it is" in page
    assert torch.equal(solution.image, before)
    figure = solution.plot(twin=True, flip="x")
    assert "twin" in figure.get_suptitle() and "x flipped" in figure.get_suptitle()
    np.testing.assert_allclose(figure.axes[0].get_images()[0].get_array(), np.abs(twin_of(solution.image.numpy())), rtol=1e-5)


def test_an_orientation_that_does_not_exist_is_an_error():
    solution = solved(letter_f(16))
    for flip in ("z", "q", "yy"):
        with pytest.raises(InputError, match="expected some of the letters y, x"):
            solution.plot(flip=flip)


# the crystal in the page


def decoded(text: str, kind: str) -> np.ndarray:
    import base64

    return np.frombuffer(base64.b64decode(text), kind)


def test_the_view_holds_the_surface_and_the_voxels_to_their_rounding():
    solution = solved(ball(24))
    view = json.loads(json.dumps(object_view(solution)))
    size, origin = np.array(view["size"]), np.array(view["origin"])
    points = decoded(view["points"], "<u2").reshape(-1, 3) / 65535 * size - 1 + np.array(view["first"])
    z, y, x = (points - 12).T
    radii = z**2 / 36 + y**2 / 20 + x**2 / 49  # the surface of the ball, to half a voxel
    assert radii.min() > 0.8 and radii.max() < 1.4
    faces, outward = decoded(view["faces"], "<u2").reshape(-1, 3), decoded(view["normals"], np.int8).reshape(-1, 3)
    assert faces.max() == len(points) - 1
    steps = np.array(view["steps"])
    xyz = (points - origin - np.array(view["first"])) @ steps
    assert ((outward * xyz).sum(1) > 0).all()
    corners = xyz[faces]
    winding = (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * corners.mean(1)).sum(1)
    assert (winding > 0).mean() > 0.99
    low, n = view["first"], view["shape"]
    box = tuple(slice(a, a + b) for a, b in zip(low, n))
    magnitude = decoded(view["magnitude"], np.uint8).reshape(n) / 255 * 30
    np.testing.assert_allclose(magnitude, np.abs(solution.image.numpy())[box], atol=0.1)
    [phase] = view["fields"]
    levels = decoded(phase["volume"], np.uint8).reshape(n)
    np.testing.assert_array_equal(levels == 0, ~solution.support.numpy()[box])


def test_a_large_volume_is_thinned_and_a_flat_object_has_no_view(monkeypatch):
    assert object_view(solved(letter_f(16))) is None
    monkeypatch.setattr("untwin.show.view.VOXELS", 300)
    monkeypatch.setattr("untwin.show.view.TRIANGLES", 400)
    view = object_view(solved(ball(24)))
    assert view["stride"] > 1 and np.prod(view["shape"]) < 700 and len(decoded(view["faces"], "<u2")) <= 3 * 400


def test_a_page_with_a_crystal_runs_its_own_scripts_alone(tmp_path, monkeypatch):
    import base64
    import hashlib

    monkeypatch.setattr(pages, "FIGURES", {"isosurface": FIGURES["isosurface"]})
    page = report(solved(ball(16), warnings=("</script><script>alert(1)</script>",)), tmp_path).read_text("utf-8")
    programs = re.findall(r"(?s)<script>(.*?)</script>", page)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1))
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(p.encode()).digest()).decode()}'" for p in programs}
    assert len(programs) == 2 and set(policy.partition("script-src ")[2].split()) == hashes
    data = re.search(r'(?s)<script type="application/json" class="numbers">(.*?)</script>', page).group(1)
    assert json.loads(data)["fields"] and "alert(1)" not in data
    assert not re.search(r"https?:|@import|url\(|<link|import\(|fetch\(", page)


def test_pdf_comes_where_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "FIGURES", {"profiles": FIGURES["profiles"], "resolution": FIGURES["resolution"]})
    report(solved(letter_f(16)), tmp_path, pdf=True)
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["profiles.pdf", "profiles.png", "resolution.pdf", "resolution.png"]
    report(solved(letter_f(16), verdict=Verdict(None, "Nobody knows.")), tmp_path)  # a figure of an earlier verdict does not stay
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["profiles.pdf", "profiles.png"]
