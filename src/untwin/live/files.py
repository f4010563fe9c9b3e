"""What lies in the folder `live` within that of the results: small files, each complete, so that whoever looks needs nothing else.

status.json     which run, whether it goes on, since when, how far it is, the verdict, the log; written every two seconds (its pulse)
curves.json     a figure of merit of each start against its iterations
preview.npz     a few small pictures of what there is so far
worker-*.npz    the same of a part of the run that another process works on; gone when the part has ended
stop            somebody wants the run to stop and to keep what is done
skip            somebody wants this pattern of a batch to be left out; while it has no folder yet, skip-N in `live` of the batch,
                N its row in batch.json, counted from 0
"""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from untwin.data.atomic import PART, atomic_write
from untwin.errors import InputError

FOLDER, STATUS, CURVES, PREVIEW, WORKER, BATCH = "live", "status.json", "curves.json", "preview.npz", "worker-", "batch.json"
STOP, SKIP = "stop", "skip"
LONGEST = 2**24  # bytes that are read of a file, at most: none that untwin writes has a tenth of it


def ask(results: Path, request: str, row: int | None = None) -> None:
    """Want the run in a folder of results to stop, or a pattern of a batch to be skipped. row: of a batch, where the pattern has no
    folder yet. Raises InputError where the request cannot be written."""
    write(results / FOLDER / (request if row is None else f"{request}-{row}"), b"")


def requested(results: Path, row: int | None = None) -> str:
    """What somebody wants of a run, or of a row of a batch: stop, skip, or nothing."""
    names = (STOP, SKIP) if row is None else (f"{SKIP}-{row}",)
    return next((name.partition("-")[0] for name in names if os.path.exists(f"{results}/{FOLDER}/{name}")), "")


def clear(results: Path) -> None:
    """Nothing of an earlier run is left, its requests and what it showed, but the status, which the next one writes over."""
    for pattern in (CURVES, PREVIEW, f"{WORKER}*", STOP, f"{SKIP}*", f".*{PART}"):
        for path in (results / FOLDER).glob(pattern):
            with suppress(OSError):
                path.unlink()


def remove(results: Path) -> None:
    """What a run has shown that never began, and the folders of it where they hold nothing else."""
    clear(results)
    with suppress(OSError):
        (results / FOLDER / STATUS).unlink()
    for folder in (results / FOLDER, results):
        with suppress(OSError):
            folder.rmdir()


def write(path: Path, content: bytes) -> None:
    """Complete, or not at all; but not flushed to the disk: what it shows is out of date in two seconds. Raises InputError."""
    with atomic_write(path, durable=False) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    write(path, json.dumps(plain(value), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"))


def read_json(path: Path) -> dict[str, Any]:
    """{} where there is no such file, or it is none of untwin's."""
    try:
        value = json.loads(read(path))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read(path: Path) -> bytes:
    """Empty where there is no such file, or it is far longer than any that untwin writes."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError:
        return b""
    return content if len(content) <= LONGEST else b""


def plain(value: Any) -> Any:
    """As JSON has it: NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def is_run(results: Path) -> bool:
    """Whether `untwin watch` has something to show in a folder of results."""
    return (results / FOLDER / STATUS).is_file() or (results / BATCH).is_file()


def require_run(results: Path) -> None:
    """Raise InputError where a folder holds no run that can be watched."""
    if is_run(results):
        return
    expected = f"expected the folder of results of a run ({FOLDER}/{STATUS} in it), such as untwin reconstruct makes"
    if not results.exists():
        raise InputError(f"there is no folder {results}; {expected}")
    if (results / "summary.json").is_file():
        raise InputError(f"the run in {results} has shown nothing of itself; {expected}; untwin report makes its page again")
    raise InputError(f"{results} holds no run; {expected}")
