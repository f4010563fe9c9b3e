"""What a notebook shows of a pattern, a run and its result; and the notebooks of examples/notebooks, in kernels of their own."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import untwin as ut
from events import calls, until
from short_runs import same, solved, thing
from untwin.judge.trust import Verdict
from untwin.live import bar as bars
from untwin.live import record as records
from untwin.live.bar import Bar, duration, line
from untwin.live.remaining import Standing
from untwin.many import BatchResult
from untwin.show.notebook import card, html, written
from untwin.show.pattern import plot_pattern

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples" / "notebooks").glob("*.ipynb"))
HOSTILE = "<script>alert('x')</script>\n\x1b[31m"


# cards


@pytest.fixture(scope="module")
def solution() -> ut.results.Reconstruction:
    result = solved()
    source = ut.Source(path=f"scan{HOSTILE}.cxi")
    return replace(result, pattern=replace(result.pattern, source=source), warnings=(HOSTILE, "a guess"))


@pytest.fixture(scope="module")
def things(solution) -> dict[str, object]:
    """One of each kind that has a card."""
    rng = np.random.default_rng(0)
    y = torch.from_numpy(rng.random((1, 24, 24))).float()
    image = torch.polar(torch.rand(3, 8, 8, 8).mean(0), torch.rand(8, 8, 8))
    crystal = ut.bragg.strain_of(image.numpy(), np.ones((8, 8, 8), bool), 1e-8 * np.eye(3), np.array([0, 0, 3e10]))
    volume = np.zeros((24, 24, 24), np.float32)
    volume[0, 0, 0] = 9
    return {
        "pattern": solution.pattern,
        "volume": ut.Pattern(volume, np.ones(volume.shape, bool), warnings=(HOSTILE,)),
        "exposures": ut.Pattern.of_waves(rng.poisson(9, (3, 16, 16)).astype(np.float32), optics=ut.Optics(fresnel_numbers=(0.1, 0.2, 0.3))),
        "numbers": ut.Pattern.of_waves(rng.poisson(9, 64).astype(np.float32)),
        "reconstruction": solution,
        "line": replace(solution, image=torch.ones(9, dtype=torch.complex64), support=torch.ones(9, dtype=torch.bool)),
        "restored": ut.restore(y, prior="drp", steps=2),
        "coloured": ut.results.Restored(image=y.expand(3, 24, 24), recipe="x", seed=0, data=y.expand(3, 24, 24).to(torch.complex64)),
        "picture": ut.Picture(y, ut.physics.Blur(torch.ones(3, 3) / 9)),
        "deconvolved": ut.deconvolve_sparse(rng.random((2, 24, 24)), 5, starts=1),
        "strain": crystal,
        "verdict": solution.verdict,
        "comparison": ut.compare(solution.image, solution.image),
        "batch": BatchResult("scan-7", solution),
        "failed": BatchResult("scan-8", None, HOSTILE),
    }


KINDS = ("pattern", "volume", "exposures", "numbers", "reconstruction", "line", "restored", "coloured", "picture", "deconvolved", "strain",
         "verdict", "comparison", "batch", "failed")  # fmt: skip
WITHOUT_PICTURE = {"numbers", "verdict", "failed"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_one_line_without_arrays(things, kind):
    text = repr(things[kind])
    assert text.isprintable() and len(text) < 300 and "tensor(" not in text and "array(" not in text


def test_a_state_and_a_problem_are_one_line():
    problem = ut.Problem(thing())
    assert repr(ut.begin(problem, (0, 1))) == "State(2 starts of 32 x 32, step 0)" and "tensor(" not in repr(problem)


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_has_a_title_numbers_and_a_picture(things, kind):
    page = things[kind]._repr_html_()
    assert "<strong>" in page and page.count("<div") == page.count("</div>")
    assert ("data:image/png;base64," in page) == (kind not in WITHOUT_PICTURE)
    assert ("alt=" in page) == (kind not in WITHOUT_PICTURE)
    assert len(page) < 200_000


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_from_a_file_is_escaped(things, kind):
    assert "<script" not in things[kind]._repr_html_()


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_can_be_read_on_any_background(things, kind):
    """Text has the colour of the page, except white on a colour of its own."""
    for style in re.findall(r'style="([^"]*)"', things[kind]._repr_html_()):
        assert ("background" in style) == bool(re.search(r"(^|;)color:#fff", style)) == ("color" in style), style


@pytest.mark.parametrize(("trusted", "sign", "words"), [(True, "✔", "Trusted"), (False, "✘", "Do not trust"), (None, "?", "Cannot say")])
def test_a_verdict_is_a_sign_and_words_and_not_a_colour_alone(solution, trusted, sign, words):
    page = replace(solution, verdict=Verdict(trusted, "why <so>"))._repr_html_()
    assert sign in page and words in page and "why &lt;so&gt;" in page and "R-factor" in page


def test_resolution_is_not_shown_of_what_is_not_trusted(solution):
    numbers = solution.numbers | {"resolution_pixels": 2.5}
    shown = [card(replace(solution, numbers=numbers, verdict=Verdict(trusted, ""))).rows for trusted in (True, False)]
    assert ["resolution, full period" in rows for rows in shown] == [True, False]


def test_a_cell_that_shows_something_broken_does_not_fail(solution):
    assert html(replace(solution, verdict=None)) is None and html(object()) is None
    assert "<img" not in written(card(replace(solution, support=None)))


def test_a_card_of_a_large_pattern_touches_what_it_shows():
    counts = np.zeros((160, 160, 160), np.float32)
    counts[0, 0, 0] = 7
    pattern = ut.Pattern(counts, np.ones(counts.shape, bool))
    html(thing())  # imports
    with calls(60_000):
        assert "160 × 160 × 160" in pattern._repr_html_()


def test_a_pattern_draws_itself(things):
    assert things["pattern"].plot()._repr_png_().startswith(b"\x89PNG")
    assert things["exposures"].plot()._repr_png_().startswith(b"\x89PNG")
    assert len(plot_pattern(things["volume"]).axes) == len(things["volume"].plot().axes)


def test_a_strain_map_draws_itself_in_the_laboratory(things):
    assert things["strain"].frame == "array" and things["strain"].plot()._repr_png_().startswith(b"\x89PNG")


# the line that moves


class Screen:
    """What would be a cell."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.pages: list[str] = []

    def display(self, data: dict[str, str], raw: bool) -> None:
        assert raw
        self.texts.append(data["text/plain"])
        self.pages.append(data["text/html"])

    update = display


@pytest.fixture
def screen(monkeypatch) -> Screen:
    """Bars are drawn here, without a kernel, and each time that something has changed."""
    screen = Screen()

    def bar() -> Bar:
        drawn = Bar()
        drawn._handle = screen
        return drawn

    monkeypatch.setattr(bars, "INTERVAL", 0.0)
    monkeypatch.setattr(records, "bar", bar)
    return screen


def test_a_run_shows_its_stages_and_how_far_it_is_and_has_the_same_bits(screen):
    shown = solved()
    stages = list(dict.fromkeys(match[1] for text in screen.texts if (match := re.match(r"(.*) \(. of 3\)", text))))
    assert stages == ["random starts", "guided generations", "finish"]
    shares = [float(v) for page in screen.pages for v in re.findall(r'<progress max="1" value="([\d.]+)"', page)]
    assert len(shares) > 10 and shares[0] == 0 and shares == sorted(shares) and shares[-1] <= 1
    assert any("R-factor" in text and " s" in text for text in screen.texts)
    assert (
        re.fullmatch(rf"reconstruct: [\d,]+ iterations in \d+ s, R-factor {shown.numbers['r_factor']:.3g}", screen.texts[-1])
        and "<progress" not in screen.pages[-1]
    )
    drawn = len(screen.texts)
    assert same(shown, solved(progress=False)) and len(screen.texts) == drawn


def test_a_restoration_and_a_batch_show_themselves(screen, things):
    y = things["restored"].data
    ut.restore(y, prior="drp", steps=3)
    assert re.match(r"restore: 3 iterations in", screen.texts[-1])
    list(ut.reconstruct_many([thing()], recipe="2*ER", starts=1, workers=1))
    assert re.match(r"reconstruct_many: 1 pattern in", screen.texts[-1])


def test_a_new_stage_is_shown_at_once_and_steps_now_and_then(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: clock[0])
    now = Standing("A", 1, 2, 0, 100, None, 4.0, 6.0)
    screen, bar, status = Screen(), Bar(), {"command": "c", "figure": "R", "unit": "iterations"}
    bar._handle = screen
    for number in range(1, 101):
        clock[0] = 0.01 * number
        bar.show(replace(now, steps=number, stage="AB"[number // 50], number=1 + number // 50) if number < 100 else now, status)
    assert len(screen.texts) <= 8 and screen.texts[0] == "A (1 of 2), 40 %, 4 s, about 6 s left"
    assert next(t for t in screen.texts if t.startswith("B")).startswith("B (2 of 2), 40 %")


def test_words_of_the_line():
    assert [duration(s) for s in (0.4, 59.6, 61, 3700)] == ["0 s", "1 min 00 s", "1 min 01 s", "1 h 01 min"]
    assert "&lt;b&gt;" in line("<b>", 0.5) and "value=" not in line("x", None)


def test_without_a_kernel_nothing_is_shown(capsys):
    assert bars.bar() is None
    solved()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("folder", "words"), [("run", "the same call goes on from there"), (None, "checkpoint='a_folder'")])
def test_an_interruption_says_how_to_go_on(tmp_path, monkeypatch, screen, folder, words):
    monkeypatch.chdir(tmp_path)

    def interrupted(steps, value, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=words):
        solved(folder, report=interrupted)
    assert screen.texts[-1].startswith("reconstruct: interrupted after")
    assert "random starts (1 of 3)" in screen.texts[-1]
    if folder:
        assert same(solved(folder), solved())


def test_an_interruption_before_anything_is_done_says_nothing(monkeypatch, tmp_path):
    def interrupted(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("untwin.runs.reconstruct.memory.require", interrupted)
    with pytest.raises(KeyboardInterrupt, match="^$"):
        solved(tmp_path / "run")


# in a kernel

START = "import untwin as ut\nfrom untwin.simulate import shapes\nfrom untwin.simulate.detector import measure\nimport numpy as np\n"


@pytest.fixture
def jupyter(monkeypatch) -> Iterator[Path]:
    """A folder in which kernels of one thread run, and outside of which they leave nothing; its name is short, as names of sockets are."""
    pytest.importorskip("ipykernel")
    with tempfile.TemporaryDirectory(prefix="k", ignore_cleanup_errors=True) as folder:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
            monkeypatch.setenv(name, folder)
        monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        for name in ("MPLBACKEND", "UNTWIN_DATA"):  # as in the kernel of somebody who has no data
            monkeypatch.delenv(name, raising=False)
        yield Path(folder)


def executed(notebook: Any, folder: Path) -> Any:
    """The notebook with its outputs."""
    nbclient, config = pytest.importorskip("nbclient"), pytest.importorskip("traitlets.config")
    own = config.Config(AsyncKernelManager={"transport": "ipc", "ip": f"{folder}/socket"})
    return nbclient.NotebookClient(notebook, config=own, kernel_name="python3", timeout=300).execute(cwd=str(folder))


def notebook_of(*cells: str) -> Any:
    nbformat = pytest.importorskip("nbformat")
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def data_of(cell: Any) -> list[dict]:
    return [output["data"] for output in cell.outputs if "data" in output]


def test_a_fresh_kernel_shows_pictures_cards_and_progress(jupyter):
    notebook = executed(
        notebook_of(
            START + "rng = np.random.default_rng(0)\npattern, truth = measure(shapes.poly((32, 32), rng), 1e6, rng)",
            "pattern",
            "pattern.plot()",
            "solution = ut.reconstruct(pattern, '2*(10*HIO + ShrinkWrap) + 10*ER', starts=4)",
            "solution",
            "solution.plot()",
            "%matplotlib inline\nsolution.plot()",
            "ut.reconstruct(pattern, '10*ER', starts=1, progress=False).verdict",
        ),
        jupyter,
    )
    _, pattern, drawn, run, card, figure, inline, verdict = notebook.cells
    for cell in (pattern, card):
        (data,) = data_of(cell)
        assert "data:image/png;base64," in data["text/html"] and "tensor(" not in data["text/plain"]
    for cell in (drawn, figure, inline):
        (data,) = data_of(cell)
        assert len(data["image/png"]) > 1000, "one picture, and no other"
    (data,) = data_of(run)  # the line, as it stands at the end
    assert data["text/plain"].startswith("reconstruct: ") and not [o for o in run.outputs if o.output_type == "error"]
    (data,) = data_of(verdict)
    assert "Cannot say" in data["text/html"]


def test_interrupting_the_kernel_keeps_what_is_done(tmp_path, jupyter):
    """Kernel > Interrupt comes after a counted step, when the first part has ended; the same call then ends with the bits of a run that
    nobody interrupted."""
    reached = tmp_path / "reached"
    cells = (
        START
        + "import sys, signal, pathlib\nsys.path.insert(0, "
        + repr(str(Path(__file__).parent))
        + ")\nfrom short_runs import solved, same",
        f"def wait(steps, value, total):\n    pathlib.Path({str(reached)!r}).touch()\n    signal.pause()\n"
        f"solved({str(tmp_path / 'run')!r}, report=wait)",
        f"kept = len(list(pathlib.Path({str(tmp_path / 'run')!r}).iterdir()))\nprint(kept > 1)",
        f"print(same(solved({str(tmp_path / 'run')!r}), solved()))",
    )
    manager = pytest.importorskip("jupyter_client").KernelManager(transport="ipc", ip=f"{jupyter}/socket")
    manager.start_kernel(cwd=str(jupyter))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        assert client.execute_interactive(cells[0], timeout=120)["content"]["status"] == "ok"
        message = client.execute(cells[1], stop_on_error=False)  # else the cells below might be dropped
        until(reached.exists, "the first part of the run ends")
        manager.interrupt_kernel()
        reply = answer(client, message)
        assert reply["ename"] == "KeyboardInterrupt" and "the same call goes on from there" in reply["evalue"]
        for cell in cells[2:]:
            texts: list[str] = []
            client.execute_interactive(cell, timeout=120, output_hook=lambda m, t=texts: t.append(m["content"].get("text", "")))
            assert "".join(texts).strip() == "True"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def answer(client: Any, message: str) -> dict[str, Any]:
    """The reply to a cell."""
    while True:
        reply = client.get_shell_msg(timeout=120)
        if reply["parent_header"].get("msg_id") == message:
            return reply["content"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_notebook_runs_from_top_to_bottom_and_shows_pictures(path, jupyter):
    nbformat = pytest.importorskip("nbformat")
    notebook = executed(nbformat.read(path, as_version=4), jupyter)
    data = [d for cell in notebook.cells if cell.cell_type == "code" for d in data_of(cell)]
    assert any("image/png" in d for d in data) and any("data:image/png" in d.get("text/html", "") for d in data)
    assert not [d for d in data if "tensor(" in d.get("text/plain", "")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_stored_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 5 and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


def test_there_are_three_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["measured_crystal", "own_algorithm_and_physics", "picture_restored"]
