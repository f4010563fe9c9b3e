"""The page of a batch: a row for each pattern with a thumbnail, to be sorted, and of a time series its results side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.data.atomic import atomic_write_bytes, atomic_write_text
from untwin.judge.trust import MARKS
from untwin.show.page import VERDICTS, page
from untwin.show.thumbnail import object_panels, strip

if TYPE_CHECKING:
    from untwin.runs.solution import Reconstruction

REPORT, THUMBNAIL = "report.html", "figures/thumbnail.png"  # in the folder of a result
HEIGHT = 96  # pixels of a thumbnail, which shows magnitude and phase side by side
COLUMNS = ("Pattern", "Verdict", "R", "Resolution", "Agreement", "Seconds", "Notes")
NUMBERS = COLUMNS[2:6]


def write_thumbnail(solution: Reconstruction, folder: Path, series: bool = False) -> None:
    """figures/thumbnail.png of a result: magnitude and phase, of a volume in the plane through the middle of its first axis. series: in the
    central half of the array, the same for all; else around the support."""
    image, support = solution.image.numpy(), solution.support.numpy()
    window = [(n // 4, n - n // 4) for n in image.shape] if series else None
    atomic_write_bytes(folder / THUMBNAIL, strip(object_panels(image, support, window), HEIGHT))


def write_page(folder: Path, rows: Sequence[Any], series: bool = False) -> None:
    """index.html. rows: batch.Row. series: its results side by side, too. A result without a report is linked to its thumbnail."""
    cells = [_cells(row, (folder / row.name / REPORT).is_file()) for row in rows]
    text = page(
        "batch.html",
        ("batch.js",),
        "'self' file:",  # thumbnails lie beside it
        folder=folder.absolute().name,
        summary=summary(rows),
        columns=[{"title": title, "number": title in NUMBERS} for title in COLUMNS],
        rows=cells,
        results=[row for row in cells if row["status"] == "done"],
        series=series,
    )
    atomic_write_text(folder / "index.html", text)


def summary(rows: Sequence[Any]) -> str:
    """How many patterns, and what became of them."""
    counts = Counter(row.mark for row in rows)
    order = (MARKS[True], MARKS[None], MARKS[False], "failed", "skipped", "waiting")
    parts = ", ".join(f"{counts[mark]} {mark}" for mark in order if counts[mark])
    return f"{len(rows)} pattern{'' if len(rows) == 1 else 's'}: {parts}"


def _cells(row: Any, report: bool) -> dict[str, Any]:
    """What the page shows of a row, as texts."""
    has_result = row.status == "done"
    colour, symbol = {"failed": ("doubted", "!")}.get(row.status, ("unknown", "·"))
    if has_result:
        colour, symbol, _ = VERDICTS[row.trusted]
    trusted = has_result and row.trusted is True and row.resolution is not None
    return {
        "name": row.name,
        "target": REPORT if report else THUMBNAIL,
        "status": row.status,
        "mark": row.mark,
        "colour": colour,
        "symbol": symbol,
        "r_factor": _short(row.r_factor),
        "resolution": _short(row.resolution) if trusted else "",
        "unit": row.unit if trusted else "",
        "agreement": _short(row.agreement),
        "seconds": "" if row.seconds is None else f"{row.seconds:.1f}",
        "text": row.message or ("" if row.trusted is True else row.verdict),
    }


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
