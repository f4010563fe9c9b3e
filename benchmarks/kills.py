"""What kills cost: files that are written, runs that go on, time that checkpoints take, and the look for NaN.

    python benchmarks/kills.py --json benchmarks/results/kills.json

Writer: a process that seals one file again and again is killed (SIGKILL), one time of four at a moment of its own that is aimed, and else
from outside when it has sealed a random number of versions; torn is a file that is neither the last version nor the one before. Runs: a
reconstruction of 32 x 32 pixels and a fit, kept after every step, are killed from outside when a random number of files is sealed, again
and again, and gone on with; different is a result with one other bit than that of the undisturbed run.
Overhead: CPU time of 100 iterations with the look for NaN every 10, against every 20, which is as many as the recipe lets the machine code
take at once (best of the rounds, in turn); and the share of the time that checkpoints take by the
rule of runs/checkpoint.py, from what one takes on this disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import multiprocessing
import os
import random
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

import untwin as ut
from untwin.data import checksummed
from untwin.runs import checkpoint, launch
from untwin.runs.checkpoint import EVERY, SHARE, Checkpoint
from untwin.simulate import shapes
from untwin.simulate.detector import measure

FORK = multiprocessing.get_context("fork")
MOMENTS = ("before write", "middle", "flush", "old", "new", "after")


def killed(work: Any, *arguments: Any, after: int | None = None) -> int:
    """The exit code of a process that does the work. after: files that it has sealed when it is killed, at whatever moment that then is;
    None where it kills itself."""
    here, there = FORK.Pipe(duplex=False)
    process = FORK.Process(target=telling, args=(there, work, *arguments))
    process.start()
    there.close()
    with suppress(EOFError):
        for _ in range(2**62 if after is None else after):
            here.recv_bytes()
        process.kill()
    process.join()
    return process.exitcode or 0


def telling(there: Any, work: Any, *arguments: Any) -> None:
    """The work, and a word for each file that is sealed."""
    seal = checksummed.write

    def told(target: Path, fill: Any) -> None:
        seal(target, fill)
        there.send_bytes(b"sealed")

    checksummed.write = told
    work(*arguments)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def writer(target: Path, moment: str, wanted: int, known: int) -> None:
    """Seals version after version; at the moment within the version that is wanted it kills itself."""
    version, replace, fsync = known, os.replace, os.fsync

    def at(now: str) -> None:
        if now == moment and version == wanted:
            die()

    def replaced(a: Any, b: Any) -> None:
        at("old" if str(b).endswith(checksummed.BEFORE) else "new")
        replace(a, b)
        if not str(b).endswith(checksummed.BEFORE):
            at("after")

    def flushed(handle: int) -> None:
        at("flush")
        fsync(handle)

    os.replace, os.fsync = replaced, flushed

    def fill(file: Any) -> None:
        at("before write")
        content = version.to_bytes(4, "big") * 100_000
        file.write(content[:200_000])
        at("middle")
        file.write(content[200_000:])

    while True:
        version += 1
        checksummed.write(target, fill)


def version(target: Path) -> int:
    """What the file holds; -1 where something is torn."""
    for path in (target, checksummed.before(target)):
        if path.exists():
            content = path.read_bytes()
            if content[-32:] != hashlib.sha256(content[: -32 - len(checksummed.SEAL)]).digest():
                return -1
    content = checksummed.read(target)
    if content is None:
        return 0
    return int.from_bytes(content[:4], "big") if content == content[:4] * 100_000 else -1


def files(kills: int, dice: random.Random, folder: Path) -> dict[str, Any]:
    target, known, torn, lost, aimed = folder / "file", 0, 0, 0, 0
    for k in range(kills):
        if k % 4 == 3:
            aimed += 1
            moment = MOMENTS[(k // 4) % len(MOMENTS)]
            killed(writer, target, moment, known + dice.randint(1, 3), known)
        else:
            killed(writer, target, "never", 0, known, after=dice.randint(1, 6))
        now = version(target)
        torn += now < 0
        lost += 0 <= now < known
        known = max(known, now)
    return {"kills": kills, "aimed": aimed, "torn": torn, "lost": lost, "versions": known}


PLAN = ut.parse(
    "Plan(Search(6*(20*HIO + ShrinkWrap(sigma=Ramp(2.0, 0.5))) + 20*ER, starts=26, families=2), "
    "Guide((40*RAAR + 10*Mean(ER),), generations=1), "
    "Finish((ShrinkWrap(threshold=Deal((0.1, 0.2))) + 40*ADMM,), deal=2, rounds=2))"
)


def pattern(shape: tuple[int, ...]) -> ut.Pattern:
    rng = np.random.default_rng(0)
    return measure(shapes.poly(shape, rng), 1e6, rng)[0]


def reconstruction(folder: Path | None) -> list[torch.Tensor]:
    found = ut.reconstruct(pattern((32, 32)), PLAN, seed=3, checkpoint=folder)
    r = torch.tensor([s.r_factor for s in found.starts])
    return [found.image, found.support, found.modes if found.modes is not None else r, r]


def fit(folder: Path | None) -> list[torch.Tensor]:
    y = np.clip(0.5 + 0.2 * np.random.default_rng(0).standard_normal((1, 24, 24)), 0, 1)
    found = ut.restore(y, stop=ut.rules.EMV(patience=120), steps=120, checkpoint=folder)
    return [found.image, torch.tensor(found.statistic)]


def runs(work: Any, kills: int, dice: random.Random, folder: Path) -> dict[str, Any]:
    def often(place: Path) -> None:
        checkpoint.EVERY, checkpoint.SHARE = 0.0, 0.0
        torch.save(work(place), place.with_suffix(".tmp"))
        os.replace(place.with_suffix(".tmp"), place.with_suffix(".pt"))

    ended = different = done = most = 0
    whole = work(None)
    while done < kills:
        place, of_this = folder / f"{work.__name__}{ended}", 0
        while killed(often, place, after=dice.randint(2, 60)):
            of_this += 1
        again = torch.load(place.with_suffix(".pt"), weights_only=True)
        different += not all(
            torch.equal(a.nan_to_num(), b.nan_to_num()) if not a.is_complex() else torch.equal(a, b) for a, b in zip(again, whole)
        )
        ended, done, most = ended + 1, done + of_this, max(most, of_this)
        Checkpoint(place).clear()
    return {"kills": done, "runs": ended, "most_kills_of_one_run": most, "different": different}


def overhead(shape: tuple[int, ...], starts: int, rounds: int) -> dict[str, Any]:
    """The look for NaN, and one checkpoint."""
    problem = ut.Problem.of(pattern(shape))
    state, recipe = ut.begin(problem, tuple(range(starts))), ut.parse("5*(20*HIO + ShrinkWrap)")
    taken: dict[int, list[float]] = {10: [], 20: []}
    with launch.one_thread():
        for _ in range(rounds + 1):
            for every, seconds in taken.items():
                launch.CHECK = every
                began = time.process_time()
                launch.run_here(problem, recipe, state)
                seconds.append(time.process_time() - began)
        launch.CHECK = 10
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            ut.save_state(state, Path(folder) / "state")
            cost = time.perf_counter() - began
    look, none = (min(s[1:]) for s in taken.values())
    return {"shape": shape, "starts": starts, "nan_percent": 100 * (look / none - 1), "checkpoint_seconds": cost,
            "checkpoint_percent": 100 * cost / max(EVERY, SHARE * cost)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=500, help="of the writer; a fifth as many of runs")
    parser.add_argument("--quick", action="store_true", help="a tenth")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    dice, kills = random.Random(args.seed), args.kills // (10 if args.quick else 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = {"files": files(kills, dice, folder)}
        print(table["files"], flush=True)
        for work in (reconstruction, fit):
            table[work.__name__] = runs(work, math.ceil(kills / 10), dice, folder)
            print(work.__name__, table[work.__name__], flush=True)
    rows = []
    for shape, starts in (((64, 64), 12), ((256, 256), 1), ((64, 64, 64), 1)):
        rows.append(overhead(shape, starts, 3 if args.quick else 9))
        print(rows[-1], flush=True)
    if args.json:
        told = {"script": "kills", "untwin": ut.__version__, "seed": args.seed, **table, "overhead": rows}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
