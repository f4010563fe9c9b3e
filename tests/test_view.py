"""The crystal in the page, in a browser: it is drawn, turns, is cut, and leaves its picture where it cannot be drawn."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest

import untwin.show.report as pages
from test_show import ball, solved
from untwin.show.report import FIGURES, report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT = 120_000  # ms: a generous limit; what is waited for is an event


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "FIGURES", {"isosurface": FIGURES["isosurface"]})
        return report(solved(ball(24)), folder)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no chromium: the crystal in the page is not tried in a browser")
    with playwright.sync_playwright() as programs:
        try:
            program = programs.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader"]
            )
        except playwright.Error as error:
            pytest.skip(f"chromium does not start: {str(error).splitlines()[0]}")
        yield program
        program.close()


def opened(browser, page_file, **options):
    page = browser.new_page(**options)
    page.set_default_timeout(WAIT)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(page_file.as_uri())
    return page, errors


def picture(page) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(page.locator(".crystal").screenshot())).convert("RGB")).astype(int)


def after(page, act) -> np.ndarray:
    """The crystal once it has come to rest again. (Not wait_for_function: the page's own policy forbids what that does.)"""
    act()
    page.wait_for_selector(".crystal[data-settled=true]")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return picture(page)


@pytest.mark.parametrize("width", [1400, 375])
def test_the_crystal_is_drawn_turned_cut_and_put_back(browser, page_file, width):
    page, errors = opened(browser, page_file, viewport={"width": width, "height": 900})
    page.wait_for_selector(".view:not([data-state=waiting])", state="attached")
    if page.get_attribute(".view", "data-state") == "slices":
        pytest.skip("this chromium has no WebGL")
    assert page.get_attribute(".view", "data-state") == "ready", page.get_attribute(".view", "data-error")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.wait_for_selector(".crystal[data-settled=true]")
    first = picture(page)
    shown = (np.ptp(first, axis=2) > 30).mean()  # what has a colour
    assert 0.05 < shown < 0.8
    page.locator(".crystal").focus()
    turned = after(page, lambda: page.keyboard.press("ArrowRight"))
    assert (np.abs(turned - first).max(2) > 20).mean() > 0.01
    cut = after(page, lambda: page.select_option("select.cut", "1"))
    assert (np.abs(cut - turned).max(2) > 20).mean() > 0.01
    assert page.locator("input.depth").is_enabled()
    large = after(page, lambda: page.keyboard.press("+"))
    assert (np.ptp(large, axis=2) > 30).sum() > (np.ptp(cut, axis=2) > 30).sum()
    back = after(page, lambda: page.locator(".reset").click())
    page.locator(".crystal").blur()
    assert page.locator("input.depth").is_disabled()
    assert (np.abs(back - first).max(2) > 20).mean() < 0.02  # but for the ring of the focus
    assert not errors
    page.close()


def test_slices_are_planes_of_the_volume(browser, page_file):
    page, errors = opened(browser, page_file)
    page.wait_for_selector(".view:not([data-state=waiting])", state="attached")
    pixels = page.evaluate(
        """() => [...document.querySelectorAll(".slice")].map(c => {
             const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
             return [c.height, c.width, Array.from(d).filter((_, i) => i % 4 === 0)]; })"""
    )
    solution = solved(ball(24))
    magnitude = np.abs(solution.image.numpy())
    low = [int(np.flatnonzero((magnitude > 0).any(tuple(b for b in range(3) if b != a)))[0]) - 1 for a in range(3)]
    for axis, (rows, columns, values) in enumerate(pixels):
        others = [a for a in range(3) if a != axis]
        plane = magnitude.take(12, axis)[low[others[0]] : low[others[0]] + rows, low[others[1]] : low[others[1]] + columns]
        np.testing.assert_allclose(np.reshape(values, (rows, columns)), 255 * plane / 30, atol=1)
    page.locator(".slices input").first.press("ArrowRight")
    assert page.locator(".slices span").first.text_content().startswith("z = 13")
    assert not errors
    page.close()


def test_without_scripts_and_on_paper_there_is_the_painted_surface(browser, page_file):
    page, _ = opened(browser, page_file, java_script_enabled=False)
    assert page.locator("button.zoom img").is_visible() and not page.locator(".view").is_visible()
    page.close()
    page, _ = opened(browser, page_file)
    page.wait_for_selector(".view:not([data-state=waiting])", state="attached")
    page.emulate_media(media="print")
    assert page.locator("button.zoom img").is_visible() and not page.locator(".view").is_visible()
    page.close()


def test_a_figure_is_enlarged_by_the_keyboard(browser, page_file):
    page, errors = opened(browser, page_file, java_script_enabled=True)
    page.add_style_tag(content=".live > .zoom { display: block !important; }")
    page.locator("button.zoom").press("Enter")
    page.wait_for_selector("dialog[open] img")
    assert page.locator("dialog img").get_attribute("src") == page.locator("button.zoom img").get_attribute("src")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog:not([open])", state="attached")
    assert not errors
    page.close()
