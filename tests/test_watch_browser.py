"""The page of untwin watch in a real browser: Chromium, which Debian packages. Skipped where there is none."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from events import LIMIT, until
from short_runs import thing
from untwin.live import files
from untwin.live.record import Record
from untwin.live.view import Line, View, object_panels

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no chromium on this machine (apt-get install chromium): the page is not tried in a browser", allow_module_level=True)
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("uvicorn", reason="the extra [live] is not installed")

expect = api.expect
expect.set_options(timeout=1000 * LIMIT)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[2])}
RECIPE = "100000*(15*HIO + ShrinkWrap) + 10*ER"  # half an hour and more: every test ends it


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        except api.Error as error:
            pytest.skip(f"chromium does not start here: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser) -> Iterator:
    with opened(browser, outlives=True) as page:
        yield page


@contextmanager
def opened(browser, outlives: bool = False, **settings) -> Iterator:
    """A page; afterwards nothing has gone wrong in it and nothing came from elsewhere. outlives: its server ends before it."""
    context = browser.new_context(**settings)
    context.set_default_timeout(1000 * LIMIT)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url.startswith("http://127.0.0.1:") else wrong.append(request.url))
    yield page
    context.close()
    wrong = [w for w in wrong if not (outlives and w.startswith("Failed to load resource"))]
    assert not wrong, wrong


@contextmanager
def process(*arguments: object, cwd: Path) -> Iterator[subprocess.Popen]:
    """untwin with these arguments; killed at the end where it still runs."""
    command = [sys.executable, "-m", "untwin", *map(str, arguments)]
    child = subprocess.Popen(command, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()


@contextmanager
def served(results: Path) -> Iterator[str]:
    """The address of the page."""
    with process("watch", results, cwd=results.parent) as server:
        assert server.stdout
        line = server.stdout.readline()
        address = re.search(r"http://\S+", line)
        assert address, line + (server.stdout.read() if server.poll() is not None else "")
        yield address[0]
        server.send_signal(signal.SIGINT)
        assert server.wait(LIMIT) == 0, "Ctrl-C is how it ends"


@pytest.fixture
def pattern(tmp_path) -> Path:
    np.savez(tmp_path / "pattern.npz", intensity=np.fft.fftshift(thing().intensity))
    return tmp_path


@contextmanager
def running(folder: Path, name: str, *more: str) -> Iterator[subprocess.Popen]:
    """A run that goes on until somebody ends it, and has shown its object."""
    settings = ("--recipe", RECIPE, "--starts", "3", "--seed", "5", *more)
    with process("reconstruct", "pattern.npz", *settings, "-o", name, cwd=folder) as run:
        shown = folder / name / files.FOLDER
        until(
            lambda: ((shown / files.PREVIEW).exists() and (shown / files.CURVES).exists()) or run.poll() is not None, "an object is shown"
        )
        assert run.poll() is None, run.communicate()
        yield run


def example(results: Path, families: int = 3, **status: object) -> Record:
    """A run as it would look in the middle, without any: whoever is given it writes, and ends it."""
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    inside = y**2 + x**2 < 0.6
    image = inside * np.exp(3j * x * y)
    live = Record(results, "reconstruct", "scan_0042.cxi", "untwin reconstruct --resume /data/scan_0042_out")
    live.__enter__()
    live._signal = None  # the tests are not to be interrupted
    live.begun = live.resumable = True
    live.plan(["Search", "Guide", "Finish"], ["random starts", "guided generations", "finish"], [(10, 1.0)] * 3)
    live.stage("Guide", 1)
    live.steps(1200, 0.12, 4000)
    steps = tuple(range(10, 210, 10))
    lines = [Line(f"start {i}", steps, tuple(0.1 + 0.02 * i + np.exp(-s / 40) for s in steps), i % families, "Search") for i in range(8)]
    live.lines(lines)
    live.families([f"family {i}" for i in range(families)], (0.05 + 0.3 * (1 - np.eye(families))).tolist())
    live.show(lambda: View(object_panels([("", image, inside)]), caption="start 2, iteration 200, R = 0.12"))
    live.set(**status)
    live._write()
    return live


def finished(live: Record, kind: type[BaseException] | None = None, error: BaseException | None = None) -> None:
    live.__exit__(kind, error, None)


# a run


def test_a_run_is_watched_from_its_beginning_to_its_end(pattern, page):
    with running(pattern, "out") as run, served(pattern / "out") as address:
        page.goto(address)
        expect(page.locator("#state")).to_have_text("running")
        assert "token" not in page.url, "it stands in no history"
        expect(page.locator("h1")).to_have_text("pattern.npz")
        expect(page.locator("#panels img[src]")).to_have_count(2)
        assert page.locator("#panels img").first.evaluate("image => image.naturalWidth") > 8
        assert "magnitude of what there is" in page.locator("#panels img").first.get_attribute("alt")
        expect(page.get_by_role("img", name="R-factor of each start")).to_be_visible()
        expect(page.locator("#count")).to_have_text(re.compile(r"^[\d,]+$"))
        first = int(page.locator("#count").inner_text().replace(",", ""))
        page.wait_for_function("n => Number(document.getElementById('count').textContent.replaceAll(',', '')) > n", arg=first)
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#state")).to_have_text("interrupted")
        said, _ = run.communicate(timeout=LIMIT)
        assert run.returncode == 130 and "go on with: untwin reconstruct --resume out" in said
        expect(page.locator("#resume-command")).to_have_text(f"untwin reconstruct --resume {pattern / 'out'}")
        expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def test_a_run_that_comes_to_its_end_shows_its_verdict(pattern, page):
    settings = ("--recipe", "300*(15*HIO + ShrinkWrap) + 10*ER", "--starts", "2", "--seed", "5")
    with process("reconstruct", "pattern.npz", *settings, "-o", "out", cwd=pattern) as run:
        until(lambda: (pattern / "out" / files.FOLDER / files.STATUS).exists(), "the run has begun")
        with served(pattern / "out") as address:
            page.goto(address)
            said, _ = run.communicate(timeout=LIMIT)
            assert run.returncode == 0, said
            expect(page.locator("#state")).to_have_text("ended")
            expect(page.locator("#verdict strong")).to_have_text(re.compile("^(Trust|Do not trust|Cannot say)$"))
            expect(page.locator("#object-title")).to_have_text("Result")
            expect(page.locator("#panels img[src]")).to_have_count(2)
            assert page.title().startswith("ended: ")
    with served(pattern / "out") as address:  # and long afterwards
        page.goto(address)
        expect(page.locator("#verdict strong")).to_be_visible()
        expect(page.locator("#resume")).to_be_hidden()


def test_a_run_that_is_killed_is_lost_and_says_how_to_go_on(pattern, page):
    with running(pattern, "out") as run, served(pattern / "out") as address:
        page.goto(address)
        expect(page.locator("#state")).to_have_text("running")
        run.kill()
        run.wait(LIMIT)
        expect(page.locator("#state")).to_have_text("lost")
        expect(page.locator("#message")).to_have_text("Its process has ended without a word.")
        expect(page.locator("#resume-command")).to_have_text(f"untwin reconstruct --resume {pattern / 'out'}")
        with process("reconstruct", "--resume", "out", cwd=pattern) as again:
            expect(page.locator("#state")).to_have_text("running")
            files.ask(pattern / "out", files.STOP)
            expect(page.locator("#state")).to_have_text("interrupted")
            again.communicate(timeout=LIMIT)
            assert again.returncode == 130


def test_two_runs_at_a_time_in_one_browser(tmp_path, browser):
    lives = [example(tmp_path / name) for name in ("one", "two")]
    lives[1].set(title="scan_0043.cxi")
    lives[1]._write()
    with served(tmp_path / "one") as a, served(tmp_path / "two") as b, opened(browser) as first:
        second = first.context.new_page()
        first.goto(a)
        second.goto(b)
        expect(first.locator("h1")).to_have_text("scan_0042.cxi")
        expect(second.locator("h1")).to_have_text("scan_0043.cxi")
        first.reload()
        second.reload()
        expect(first.locator("h1")).to_have_text("scan_0042.cxi")
        second.get_by_role("button", name="Stop").click()
        until(lambda: files.requested(tmp_path / "two") == "stop", "the second is asked to stop")
        assert files.requested(tmp_path / "one") == ""
    for live in lives:
        finished(live)


def test_two_pages_of_one_run_and_a_stranger(tmp_path, browser):
    live = example(tmp_path / "run")
    with served(tmp_path / "run") as address, opened(browser) as first, opened(browser) as second:
        for page in (first, second):
            page.goto(address)
            expect(page.locator("#state")).to_have_text("running")
        context = browser.new_context()
        stranger = context.new_page()
        assert stranger.goto(address.partition("?")[0]).status == 403
        assert "the address that untwin watch has printed" in stranger.content()
        context.close()
    finished(live)


def test_a_reload_shows_the_same_and_a_server_that_is_gone_is_said(tmp_path, browser):
    live = example(tmp_path / "run")
    with opened(browser, outlives=True) as page:
        with served(tmp_path / "run") as address:
            page.goto(address)
            expect(page.locator("#caption")).to_have_text("start 2, iteration 200, R = 0.12")
            page.reload()
            expect(page.locator("#caption")).to_have_text("start 2, iteration 200, R = 0.12")
        expect(page.locator("#lost")).to_contain_text("The server does not answer")
        expect(page.locator("#caption")).to_have_text("start 2, iteration 200, R = 0.12")
    finished(live)


def test_nothing_jumps_and_nothing_takes_the_focus(tmp_path, page):
    live = example(tmp_path / "run")
    with served(tmp_path / "run") as address:
        page.goto(address)
        expect(page.locator("#panels img[src]")).to_have_count(2)
        page.get_by_text("As a table").click()
        page.locator("#log").focus()
        boxes = "[...document.querySelectorAll('.card, #panels img, h1, #stop')].map(n => JSON.stringify(n.getBoundingClientRect()))"
        page.evaluate("window.node = document.querySelector('#panels img'); window.scrollTo(0, 200)")
        before, top = page.evaluate(boxes), page.evaluate("scrollY")
        for number in (1300, 1400):
            live.steps(100, 0.1)
            live.show(
                lambda: View(object_panels([("", np.eye(48) + 0j, np.ones((48, 48), bool))]), caption="start 3, iteration 210, R = 0.1")
            )
            live._write()
            expect(page.locator("#count")).to_have_text(f"{number:,}")
        expect(page.locator("#caption")).to_have_text("start 3, iteration 210, R = 0.1")
        assert page.evaluate("document.activeElement.id") == "log" and page.evaluate("scrollY") == top
        assert page.evaluate("window.node === document.querySelector('#panels img')") and page.locator("details").evaluate("d => d.open")
        assert page.evaluate(boxes) == before
    finished(live)


# what it looks like


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_it_fits_its_window_and_can_be_read_in_both_schemes(tmp_path, browser, width, scheme):
    live = example(tmp_path / "run", families=7)
    finished(live, KeyboardInterrupt, KeyboardInterrupt("a" * 300))
    with (
        served(tmp_path / "run") as address,
        opened(browser, viewport={"width": width, "height": 700}, color_scheme=scheme) as page,
    ):
        page.goto(address)
        expect(page.locator("#families td").first).to_be_visible()
        expect(page.locator("#chart svg")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for selector in (
            "h1",
            "#where",
            "#state",
            "#message",
            "#resume-command",
            ".facts dt",
            "#caption",
            "#families td",
            "#legend",
            "#copy",
        ):
            ratio = page.locator(selector).first.evaluate(CONTRAST)
            assert ratio >= 4.5, f"{selector}: contrast {ratio:.2f}"
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == {
            "light": "rgb(246, 247, 249)", "dark": "rgb(20, 23, 27)"
        }[scheme]  # fmt: skip


CONTRAST = """node => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  let behind = node, colour = null;
  while (behind && !colour) { const c = parts(getComputedStyle(behind).backgroundColor); if (c.length < 4 || c[3] > 0) colour = c; behind = behind.parentElement; }
  const pair = [light(parts(getComputedStyle(node).color)), light(colour)].sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
}"""  # noqa: E501


def test_it_is_used_by_keyboard_alone(tmp_path, page):
    live = example(tmp_path / "run")
    with served(tmp_path / "run") as address:
        page.goto(address)
        expect(page.locator("#panels img[src]")).to_have_count(2)
        order = []
        for _ in range(6):
            page.keyboard.press("Tab")
            order.append(page.evaluate("document.activeElement.id || document.activeElement.className || document.activeElement.tagName"))
        assert order[:2] == ["skip", "stop"] and "SUMMARY" in order and "log" in order
        outline = page.locator("#log").evaluate("n => { n.focus(); return getComputedStyle(n).outlineStyle; }")
        assert outline != "none"
        page.get_by_role("button", name="Stop").focus()
        page.keyboard.press("Enter")
        until(lambda: files.requested(tmp_path / "run") == "stop", "the run is asked to stop")
        expect(page.locator("#stop")).to_have_text("Stopping…")
        assert page.evaluate("document.activeElement.id") == "stop", "the focus stays"
        finished(live, KeyboardInterrupt, KeyboardInterrupt())
        expect(page.locator("#state")).to_have_text("interrupted")
        assert page.evaluate("document.activeElement.id") == "resume"


def test_every_picture_has_words_and_every_change_is_spoken(tmp_path, page):
    live = example(tmp_path / "run")
    with served(tmp_path / "run") as address:
        page.goto(address)
        expect(page.locator("#panels img[src]")).to_have_count(2)
        for image in page.locator("img").all():
            assert len(image.get_attribute("alt") or "") > 10
        expect(page.locator("[role=status]")).to_have_text("running, guided generations")
        expect(page.locator("[aria-current=step]")).to_have_text("guided generations")
        chart = page.get_by_role("img", name="R-factor of each start")
        assert "8 starts; lowest" in page.locator(f"#{chart.get_attribute('aria-describedby')}").inner_text()
        named = "n => n.textContent.trim() || n.getAttribute('aria-label') || n.getAttribute('aria-labelledby')"
        shown = "[...document.querySelectorAll('button, select, progress, [tabindex]')].filter(n => n.offsetParent)"
        names = page.evaluate(f"{shown}.map({named})")
        assert all(names)
        live.set(verdict={"trusted": False, "text": "<img src=x onerror=alert(1)>"})
        finished(live)
        expect(page.locator("[role=status]")).to_have_text(re.compile("^ended.*Do not trust$"))
        expect(page.locator("#verdict span")).to_have_text("<img src=x onerror=alert(1)>")
        assert page.locator("#verdict img").count() == 0


def test_three_dimensions_have_three_planes(tmp_path, page):
    planes = [(f" across {name}", np.ones((20, 30 + i), complex), np.ones((20, 30 + i), bool)) for i, name in enumerate("zyx")]
    live = example(tmp_path / "run")
    live.show(lambda: View(object_panels(planes), caption="the result"))
    finished(live)
    with served(tmp_path / "run") as address:
        page.goto(address)
        expect(page.locator("#panels img[src]")).to_have_count(6)
        assert page.locator("#panels figcaption").first.inner_text() == "magnitude across z"


# a batch


def test_a_batch_is_watched_and_a_pattern_of_it_skipped(tmp_path, browser):
    root = example(tmp_path / "results", stage="", stages=[])
    live = example(tmp_path / "results" / "a")
    rows = [{"name": "a", "file": "a.cxi", "status": "running", "verdict": None, "trusted": None, "r_factor": None, "resolution": None,
             "seconds": None, "message": ""}]  # fmt: skip
    rows += [{**rows[0], "name": f"pattern_{i:03}", "status": "waiting"} for i in range(30)]
    rows += [
        {
            **rows[0],
            "name": "done",
            "status": "done",
            "trusted": True,
            "r_factor": 0.0312,
            "resolution": 2.0,
            "unit": "pixels",
            "seconds": 71,
        }
    ]

    def write() -> None:
        files.write_json(tmp_path / "results" / files.BATCH, {"rows": rows})

    write()
    with served(tmp_path / "results") as address, opened(browser, viewport={"width": 375, "height": 700}) as page:
        page.goto(address)
        expect(page.locator("#batch-count")).to_have_text("1 running, 30 waiting, 1 done")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        expect(page.locator("#rows tr").last).to_contain_text("done, trust")
        page.get_by_role("button", name="a", exact=True).click()
        expect(page.locator("#panels img[src]")).to_have_count(2)
        page.reload()
        expect(page.locator("#rows [aria-current=true]")).to_have_text("a")
        page.get_by_role("button", name="Skip a", exact=True).click()
        page.get_by_role("button", name="Skip pattern_004").click()
        until(lambda: files.requested(tmp_path / "results" / "a") == "skip", "the pattern is skipped")
        until(lambda: files.requested(tmp_path / "results", 5) == "skip", "and one that waits")
        rows[0]["status"] = rows[5]["status"] = "skipped"
        write()
        expect(page.locator("#batch-count")).to_have_text("2 skipped, 29 waiting, 1 done")
        skipped = page.get_by_role("button", name="Skip pattern_004")
        expect(skipped).to_have_text("Skipped")  # it keeps the focus
        page.get_by_role("button", name="done", exact=True).focus()
        expect(skipped).to_be_hidden()
    finished(live)
    finished(root)
