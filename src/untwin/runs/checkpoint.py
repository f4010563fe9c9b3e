"""What a run has done so far, in a folder, so that it goes on from there bit for bit on the same machine; and single states in files.

A run is parts (a batch of starts, a fit) in an order that follows from the run itself. Each is a file, named by what the part is: where it
stands, or how it ended. A part that ended is never worked out again, and one that was under way goes on from its last state.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.data import checksummed
from untwin.data.atomic import PART
from untwin.data.typed import typed
from untwin.errors import CheckpointWarning, InputError, NumericalFailure, SchedulerLost, WorkerLost
from untwin.live import files
from untwin.live.record import Record, Shows
from untwin.processes import ignored, stoppable
from untwin.solve.state import Member, State
from untwin.solve.stopping import RuleState

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from untwin.live.view import View

EVERY = 20.0  # seconds of work between checkpoints, at least,
SHARE = 50.0  # and so many times what the last one took: a fiftieth of the time
MOST_WAITING = 2**28  # bytes of images that wait in memory until they are written
RATE = 2e8  # bytes per second that a disk is trusted with before anything has been written to it
POLL_INTERVAL = 0.5  # seconds after which a worker looks whether it is still wanted
_RUN, _STOP = "run.untwin", "stop"

_KNOWN = {cls.__name__: cls for cls in (State, Member, RuleState)}


@dataclass(eq=False)
class PartState:
    """Where a part stands. trace: what was written down after some steps, plain values. aux: whatever else changes with them."""

    state: State
    trace: list[Any]
    aux: Any = None
    ended: bool = False


@dataclass
class Checkpoint:
    """The folder in which a run keeps what it has done; without a folder nothing is kept.

    options: plain values that say how to begin this run, for whoever goes on with it. every: seconds of work between two writings.
    live: what shows the run to others.
    Parts that have ended wait in memory until it is time to write, so that a run of seconds writes nothing but what it is.
    """

    folder: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    every: float = field(default_factory=lambda: EVERY)
    run: str = ""
    owner: int = field(default_factory=os.getpid)
    waiting: dict[str, PartState] = field(default_factory=dict)
    due: float = 0.0
    cost: float = 0.0
    polled: float = 0.0
    live: Shows = field(default_factory=Record)

    def begin(self, about: dict[str, Any]) -> None:
        """Say what the run is: about, plain values. Raises InputError where the folder holds another run, naming what differs."""
        text = json.dumps(about, sort_keys=True, default=str)
        self.run = hashlib.sha256(text.encode()).hexdigest()
        self._later(self.every)
        self.live.begun = True
        if self.folder is None:
            return
        self.live.resumable = True
        existing = metadata(self.folder)
        if existing is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            content = json.dumps({"about": about, "options": self.options}, default=str).encode()
            checksummed.write(self.folder / _RUN, lambda file: file.write(content))
            return
        current = json.loads(text)
        for name in {**existing["about"], **current}:
            was, is_ = existing["about"].get(name), current.get(name)
            if was != is_:
                raise InputError(
                    f"the run in {self.folder} was begun with {name} {_short(was)}, this is {_short(is_)}: it would not end with the same "
                    f"bits. Go on with what it was begun with, or begin anew in another folder"
                )
        for path in [self.folder / _STOP, *self.folder.glob(f".*{PART}")]:
            path.unlink(missing_ok=True)

    def name(self, *identity: Any) -> str:
        """Of a part of this run: what it is, in values whose text says it all."""
        return hashlib.sha256("\n".join([self.run, *map(repr, identity)]).encode()).hexdigest()[:40]

    def read(self, name: str, device: str = "cpu") -> PartState | None:
        """Where a part stands, as it was kept last; None where nothing is kept. What is damaged is worked out again (CheckpointWarning)."""
        if name in self.waiting:
            return self.waiting[name]
        if self.folder is None:
            return None
        try:
            content = checksummed.read(self.folder / name)
            if content is None:
                return None
            loaded = _read_content(content, device)
            return PartState(loaded["state"], loaded["trace"], loaded["beside"], loaded["ended"])
        except (InputError, KeyError):
            path = self.folder / name
            for version in (path, checksummed.before(path)):
                version.unlink(missing_ok=True)
            warnings.warn(f"{path} is damaged: this part of the run is worked out again", CheckpointWarning, stacklevel=2)
            return None

    @contextmanager
    def part(self, name: str, look: Callable[[State, list[Any]], View] | None = None) -> Iterator[Callable[..., None]]:
        """Work on a part. `reached(state, trace, aux)` after each step says where it stands: this is kept when it is time, and when the
        work is interrupted. look: what others may see of a state and its trace. Raises KeyboardInterrupt when the user wants to stop."""
        latest: list[tuple[State, list[Any], int, Any]] = []

        def part_state() -> dict[str, PartState]:
            state, trace, count, aux = latest[0]
            return {name: PartState(state, trace[:count], aux)}

        def reached(state: State, trace: list[Any], aux: Any = None) -> None:
            latest[:] = [(state, trace, len(trace), aux)]  # in one go: an interruption finds the old or the new
            if stop_requested():
                raise KeyboardInterrupt
            if look is not None:
                self.live.reached(name, partial(look, state, trace))
            if self.folder is None:
                return
            clock = time.monotonic()
            if clock > self.polled + POLL_INTERVAL:
                self.polled = clock
                self._require_wanted()
            if clock > self.due and not self._postponed(state):
                self.keep(part_state())

        if not self.due:
            self._later(self.every)
        with stoppable() as stop_requested:
            try:
                yield reached
            except KeyboardInterrupt:
                if latest:
                    self.keep(part_state())
                raise
            finally:
                self.live.left(name)

    def finish_part(self, name: str, part: PartState) -> None:
        """A part has ended; it is kept when it is time."""
        if self.folder is None:
            return
        part.ended = True
        self.waiting[name] = part
        waiting = sum(p.state.image.nbytes for p in self.waiting.values())
        if time.monotonic() > self.due or waiting > MOST_WAITING:
            self.keep()

    def keep(self, under_way: dict[str, PartState] | None = None) -> None:
        """Write what waits, and the part that is under way. Where the disk does not take it the run goes on, and says so
        (CheckpointWarning); what was kept before stays. Without a folder it waits for whoever reads it."""
        if self.folder is None:
            self.waiting.update(under_way or {})
            return
        began = time.monotonic()
        try:
            for name, part in {**self.waiting, **(under_way or {})}.items():
                content = {"state": _encode(part.state), "trace": part.trace, "beside": _encode(part.aux), "ended": part.ended}
                checksummed.write(self.folder / name, lambda file, content=content: _write_content(content, file))
                self.waiting.pop(name, None)
        except InputError as error:
            warnings.warn(f"no checkpoint: {error}", CheckpointWarning, stacklevel=2)
        self.cost = time.monotonic() - began
        self._later(max(self.every, SHARE * self.cost))

    def begun(self) -> bool:
        """True where there is a run to go on with."""
        return self.folder is not None and (self.folder / _RUN).exists()

    def has_parts(self) -> bool:
        """True where some of its work is kept."""
        return self.folder is not None and any(path.suffix not in (".untwin", PART) for path in self.folder.glob("*"))

    def clear(self) -> None:
        """The run is done, its result is safe: nothing of this is needed any more."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def ask_to_stop(self) -> None:
        """Processes that work on parts of this run stop at their next step."""
        if self.folder is not None:
            with suppress(OSError):
                (self.folder / _STOP).touch()

    def for_worker(self) -> Checkpoint:
        """Of one who works on parts of this run, in another thread or process."""
        return Checkpoint(self.folder, {}, self.every, self.run, self.owner, live=self.live.for_worker())

    def _require_wanted(self) -> None:
        """In another process than the run's own: raise KeyboardInterrupt where that one has ended or wants to stop."""
        if os.getpid() != self.owner and (os.getppid() != self.owner or (self.folder and (self.folder / _STOP).exists())):
            raise KeyboardInterrupt

    def _postponed(self, state: State) -> bool:
        """The first checkpoint waits, too, until it is sure to take no more than its share."""
        if not self.cost:
            self.cost = 3 * state.x.nbytes / RATE
            if SHARE * self.cost > self.every:
                self._later(SHARE * self.cost - self.every)
                return True
        return False

    def _later(self, seconds: float) -> None:
        self.due = time.monotonic() + seconds


@contextmanager
def checkpointed(
    command: str, checkpoint: Checkpoint, folder: Path, resume: bool, title: str = "", figure: str = "R-factor"
) -> Iterator[Record]:
    """Inside, the run shows itself (title, figure: see Record), and an interruption says how to go on, where the checkpoint holds anything.
    The checkpoint is removed when the block is done, or has failed for good."""
    if not resume:
        checkpoint.clear()
    try:
        with Record(folder, command, title, f"untwin {command} --resume {typed(folder.absolute())}", figure) as record:
            checkpoint.live = record
            yield record
    except (KeyboardInterrupt, WorkerLost) as error:
        if not checkpoint.begun():
            raise
        how = f"what is done is kept; go on with: untwin {command} --resume {typed(folder)}"
        how += ", which runs here, or on another cluster with --scheduler" if isinstance(error, SchedulerLost) else ""
        raise type(error)("; ".join([*map(str, error.args), how])) from None
    except (InputError, NumericalFailure) as error:
        if isinstance(error, NumericalFailure) or not (resume or checkpoint.has_parts()):
            checkpoint.clear()
            with suppress(OSError):
                folder.rmdir()  # if there is nothing in it
            if isinstance(error, InputError):
                files.remove(folder)
        raise
    checkpoint.clear()


@contextmanager
def checkpoint_in(folder: Checkpoint | str | Path | None) -> Iterator[Checkpoint]:
    """Inside, what a run keeps itself in. Of a folder, or where there is none, an interruption says how to go on, or how one could have; of
    a checkpoint its owner says it."""
    if isinstance(folder, Checkpoint):
        yield folder
        return
    checkpoint = Checkpoint(None if folder is None else Path(folder))
    try:
        yield checkpoint
    except (KeyboardInterrupt, WorkerLost) as error:
        if not checkpoint.live.begun:
            raise
        how = f"what is done is kept in {checkpoint.folder}; the same call goes on from there"
        if folder is None:
            how = "nothing of it is kept; with checkpoint='a_folder' the same call would go on from where it was"
        raise type(error)("; ".join([*map(str, error.args), how])) from None


def metadata(folder: Path) -> dict[str, Any] | None:
    """What the unfinished run in a checkpoint folder says of itself: about, options; None where there is none. Raises InputError where it
    is damaged."""
    content = checksummed.read(folder / _RUN)
    if content is None:
        return None
    try:
        run = json.loads(content)
        return {"about": dict(run["about"]), "options": dict(run["options"])}
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{folder / _RUN} is not what untwin has written; begin anew in another folder") from None


def digest(*arrays: np.ndarray | Tensor | None) -> str:
    """SHA-256 of arrays, their shapes and kinds."""
    import numpy as np

    sha256 = hashlib.sha256()
    for a in arrays:
        a = None if a is None else np.ascontiguousarray(a.detach().cpu().numpy() if hasattr(a, "detach") else a)  # type: ignore[union-attr]
        sha256.update(b"none" if a is None else f"{a.dtype} {a.shape}".encode())
        sha256.update(b"" if a is None else a.reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()


def save_state(state: State, path: str | Path) -> Path:
    """Write a state that `iterate` has yielded: complete, or not at all. What was there before stays as NAME.before."""
    checksummed.write(Path(path), lambda file: _write_content({"state": _encode(state)}, file))
    return Path(path)


def load_state(path: str | Path, device: str = "cpu") -> State:
    """The state in a file, to hand to `iterate` with the same problem and recipe. Raises InputError where there is none."""
    content = checksummed.read(Path(path))
    if content is None:
        raise InputError(f"no file {path}; save_state writes one")
    return _read_content(content, device)["state"]


def _write_content(content: dict[str, Any], file: Any) -> None:
    import torch

    buffer = io.BytesIO()  # a disk that is full is an OSError of the file, and not whatever torch makes of it
    torch.save({"untwin": "state", **content}, buffer)
    file.write(buffer.getbuffer())


def _read_content(content: bytes, device: str) -> dict[str, Any]:
    import torch

    expected = "expected a file that save_state or a checkpoint has written"
    try:
        with ignored():  # of files by others
            loaded = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        if not isinstance(loaded, dict) or loaded.pop("untwin", None) != "state":
            raise InputError(f"this holds no state; {expected}")
        values = {name: v if name == "trace" else _decode(v) for name, v in loaded.items()}
        state = values["state"]
        grids = [state.x, state.image, state.support, state.bounds]
        if any(g.shape != state.x.shape for g in grids) or [type(seed) for seed in state.seeds] != [int] * len(state.x):
            raise ValueError("its parts do not fit")
        return values
    except InputError:
        raise
    except Exception as error:  # whatever torch says of a file that is none of its own
        raise InputError(f"this holds no state ({type(error).__name__}); {expected}") from None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 60 else f"{text[:50]}..."


def _encode(value: Any) -> Any:
    if type(value).__name__ in _KNOWN:
        return {"__class__": type(value).__name__, **{f.name: _encode(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, dict):
        return {name: _encode(v) for name, v in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map(_encode, value))
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict) and "__class__" in value:
        return _KNOWN[value["__class__"]](**{name: _decode(v) for name, v in value.items() if name != "__class__"})
    if isinstance(value, dict):
        return {name: _decode(v) for name, v in value.items()}
    return tuple(map(_decode, value)) if isinstance(value, tuple) else value
