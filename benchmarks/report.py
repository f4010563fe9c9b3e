"""What a report costs: CPU seconds and bytes of the page, and how soon and how smoothly the crystal in it turns.

    python benchmarks/report.py --json benchmarks/results/report.json

A 64 x 64 and a 64 x 64 x 64 crystal, phased with a short recipe; the report is drawn in a process of its own, which has torch and has not
yet drawn anything. seconds: of its CPU time, the import of matplotlib within, the least of --rounds. pdf: with --pdf. megabytes: of
report.html.

With Playwright and a chromium, software rendering, 1400 x 900: first, ms from the beginning of the navigation to the first picture of the
crystal; frames per second while it is turned by keys for two seconds. Least, median and most of --rounds: they depend on what else the
machine does, so its load is beside them, and the CPU time of all the browser's processes for a frame.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import untwin as ut

DRAW = """
import sys, time
import torch
from untwin.runs.archive import load
solution = load(sys.argv[1])
start = time.process_time()
from untwin.show.report import report
page = report(solution, sys.argv[1], pdf=sys.argv[2] == "pdf")
print(time.process_time() - start, page.stat().st_size)
"""
TURN = """async () => {
  const canvas = document.querySelector(".crystal"), before = Number(canvas.dataset.frames), start = performance.now();
  while (performance.now() - start < 2000) {
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    await new Promise(done => requestAnimationFrame(done));
  }
  return [Number(canvas.dataset.frames) - before, (performance.now() - start) / 1000];
}"""
RECIPES = {2: "200*HIO + ShrinkWrap + 50*ER", 3: "60*RAAR + ShrinkWrap + 20*ER"}


def result(folder: Path, d: int) -> Path:
    """A folder with a result of a crystal of 64 pixels along d axes."""
    size = ",".join(["64"] * d)
    command = [sys.executable, "-m", "untwin", "simulate", "crystal", "-o", str(folder / f"c{d}.cxi"), "--size", size, "--seed", "3"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    solution = ut.reconstruct(ut.read(folder / f"c{d}.cxi"), RECIPES[d], starts=4, seed=0, workers=1)
    solution.save(folder / f"run{d}")
    return folder / f"run{d}"


def drawn(run: Path, kind: str, rounds: int) -> tuple[float, float]:
    """CPU seconds, and MB of the page."""
    outcomes = []
    for _ in range(rounds):
        out = subprocess.run([sys.executable, "-c", DRAW, str(run), kind], check=True, capture_output=True, text=True).stdout
        outcomes.append(tuple(map(float, out.split())))
    return min(seconds for seconds, _ in outcomes), outcomes[0][1] / 1e6


def browser_seconds() -> float:
    """CPU time of all processes below this one."""
    parents, seconds = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
        seconds[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(seconds[pid] for pid in below - {os.getpid()})


def turned(page_file: Path, rounds: int) -> dict[str, Any] | None:
    """None without a browser."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if chromium is None:
        return None
    first, rates, cost = [], [], []
    with sync_playwright() as programs:
        arguments = ["--no-sandbox", "--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader"]
        browser = programs.chromium.launch(executable_path=chromium, args=arguments)
        for _ in range(rounds):
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.goto(page_file.as_uri())
            page.wait_for_selector(".view[data-state=ready]")
            first.append(float(page.get_attribute(".view", "data-first") or "nan"))
            page.locator(".crystal").scroll_into_view_if_needed()
            before = browser_seconds()
            frames, seconds = page.evaluate(TURN)
            cost.append(1000 * (browser_seconds() - before) / max(1, frames))
            rates.append(frames / seconds)
            page.close()
        browser.close()
    spread = {
        name: [round(f(v), 1) for f in (min, statistics.median, max)]
        for name, v in (("first_ms", first), ("frames", rates), ("cpu_ms", cost))
    }
    return spread | {"load": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="has no effect: the crystals are fixed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rounds = 1 if args.quick else args.rounds
    rows: list[dict[str, Any]] = []
    print(
        "| run | CPU s | with PDF, CPU s | MB | first picture, ms | frames per second | CPU ms for a frame |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for d in (2, 3):
            run = result(Path(folder), d)
            row: dict[str, Any] = {"shape": [64] * d}
            row["seconds_pdf"], _ = drawn(run, "pdf", 1)
            row["seconds"], row["megabytes"] = drawn(run, "png", rounds)
            row["view"] = turned(run / "report.html", rounds) if d == 3 else None
            view = row["view"] or {"first_ms": "-", "frames": "-", "cpu_ms": "-"}
            cells = [" x ".join(["64"] * d), f"{row['seconds']:.2f}", f"{row['seconds_pdf']:.2f}", f"{row['megabytes']:.2f}"]
            print("| " + " | ".join([*cells, str(view["first_ms"]), str(view["frames"]), str(view["cpu_ms"])]) + " |", flush=True)
            rows.append(row)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        about = {"script": "report", "untwin": ut.__version__, "date": time.strftime("%Y-%m-%d")}
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=1))


if __name__ == "__main__":
    main()
