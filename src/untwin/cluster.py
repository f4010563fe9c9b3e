"""Many machines: a Dask cluster that somebody runs, or a small one on this machine, as an executor of concurrent.futures.

Whatever worker runs a task, and however often one dies, the bits of what comes back are the same: each task has one thread, and a worker
that has other versions than this process refuses it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from untwin.errors import ClusterWarning, InputError, SchedulerLost, WorkerLost
from untwin.parcel import Parcel
from untwin.processes import calm, cores, ignored, interruptible, keep_freed_blocks, one_thread, worker_environment
from untwin.provenance import made_with

if TYPE_CHECKING:
    from distributed import Client

ANSWER = 3.0  # seconds that a scheduler has to answer, as many until a first worker is there, and until the workers say what they are
LOSSES = 8  # workers that are lost over one task before it is blamed for it: two rounds of Dask's own resubmissions
AHEAD, LEAST_AHEAD = (
    2,
    4,
)  # so many tasks for each thread, and so many more, are at the scheduler at once: others wait here with their arrays
WATCH = 1.0  # seconds between two looks at how many threads there are
EXPECTED = 'expected "tcp://host:8786", a scheduler file (.json), "local", a distributed.Client or a cluster of Dask'


class Stopped:
    """What a task leaves that was asked to stop and had nothing to say."""


# On a worker

_stops: set[str] = set()  # the runs whose tasks are to stop here


def _stop(run: str) -> None:
    _stops.add(run)


@lru_cache
def versions() -> dict[str, str]:
    """What must be the same where a task runs: where it is, so are the bits. Plain values by name."""
    from importlib.metadata import version

    about = {k: str(v) for k, v in made_with().items() if k != "threads"}
    return about | {"distributed": version("distributed")}


def introduction() -> dict[str, str]:
    """What a worker says of itself."""
    return versions()


def _require_same(where: str, own: dict[str, str], its: dict[str, str]) -> None:
    differences = [f"{k} {its.get(k) or 'unknown'} (here {v or 'unknown'})" for k, v in own.items() if its.get(k) != v]
    if differences:
        raise InputError(
            f"the worker {where} has {', '.join(differences)}; expected what this process has, since other versions give other bits: "
            "start the workers from the same environment"
        )


def _run(task: Parcel, shared: Parcel | None, expected: dict[str, str], run: str) -> Parcel:
    """A task on a worker, in a thread of it. Between two steps of what it does it is asked whether it is still wanted."""
    from distributed import get_worker

    worker = get_worker()
    _require_same(worker.address, expected, introduction())
    keep_freed_blocks()
    key = worker.get_current_task()

    def unwanted() -> bool:
        state = worker.state.tasks.get(key)
        return run in _stops or state is None or state.state == "cancelled" or worker.status.name in ("closing", "closed", "failed")

    function, arguments, settings = task.content
    if shared is not None:
        arguments = (shared.content, *arguments)
    try:
        with one_thread(), interruptible(unwanted):
            return Parcel(function(*arguments, **settings))
    except KeyboardInterrupt:  # which would end the worker
        return Parcel(Stopped())


def _content(parcel: Parcel) -> Any:
    return parcel.content


def _itself(parcel: Parcel) -> Parcel:
    return parcel


# Here


@dataclass(eq=False)
class Shared:
    """Something that travels once to each worker, and is the first argument of tasks."""

    content: Any
    future: Any = None  # of Dask, as soon as it is under way
    ready: asyncio.Task | None = None

    @property
    def lost(self) -> bool:
        return self.future is not None and self.future.status in ("error", "cancelled", "lost")


@dataclass(eq=False)
class _Task:
    call: tuple[Callable, tuple[Any, ...], dict[str, Any]]
    shared: Shared | None
    future: Future
    losses: int = 0


class ClusterExecutor(Executor):
    """Tasks on the workers of a Dask client, one thread each.

    The future of a task raises what the task has raised; WorkerLost where LOSSES workers were lost over it; SchedulerLost; InputError where
    a worker has other versions; KeyboardInterrupt where it was stopped. A task whose worker is lost is begun anew on another.
    """

    def __init__(self, client: Client, threads: int, direct: bool = False) -> None:
        self.client, self.threads, self.direct, self.run = client, threads, direct, uuid.uuid4().hex
        self.address = _address(client)  # a client that has lost its scheduler no longer knows it
        self._waiting: deque[_Task] = deque()
        self._sent: set[_Task] = set()
        self._futures: WeakSet[Any] = WeakSet()  # of Dask: what the scheduler holds for this executor
        self._lock = threading.Lock()
        self._open = True
        _on_loop(self.client, self._watch)

    def submit(self, function: Callable, /, *arguments: Any, **settings: Any) -> Future:
        return self.submit_with(None, function, *arguments, **settings)

    def submit_with(self, shared: Shared | None, function: Callable, /, *arguments: Any, **settings: Any) -> Future:
        """function(shared.content, *arguments, **settings)."""
        task = _Task((function, arguments, settings), shared, Future())
        with self._lock:
            if not self._open:
                raise RuntimeError("this executor is closed")
            self._waiting.append(task)
        self._send()
        return task.future

    def stop(self) -> None:
        """What is under way stops at its next step, and ends with what it has then; what is not is cancelled."""
        with self._lock:
            waiting = [*self._waiting]
            self._waiting.clear()
        for task in waiting:
            task.future.cancel()

        async def tell() -> None:
            if self.client.status == "running":
                await self.client.run(_stop, self.run, on_error="ignore")

        with suppress(Exception):  # whoever does not hear it is cancelled by `shutdown`
            _on_loop(self.client, tell).result(ANSWER)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """What has not ended is cancelled, and the scheduler holds nothing of it any more."""
        with self._lock:
            self._open = False
            tasks, futures = [*self._waiting, *self._sent], [*self._futures]
            self._waiting.clear()
            self._sent.clear()

        async def cancel() -> None:
            await self.client.cancel(futures)

        for task in tasks:
            _end(task, KeyboardInterrupt())
        if futures and self.client.status == "running":
            with suppress(Exception):
                _on_loop(self.client, cancel).result(ANSWER)

    def _send(self) -> None:
        """As many of those that wait as the scheduler is to hold."""
        while True:
            with self._lock:
                if not self._waiting or len(self._sent) >= AHEAD * self.threads + LEAST_AHEAD:
                    return
                task = self._waiting.popleft()
                if not task.future.set_running_or_notify_cancel():
                    continue
                self._sent.add(task)
            _on_loop(self.client, lambda task=task: self._follow(task))

    async def _watch(self) -> None:
        """Follow how many threads there are; say it where there is none any more."""
        absent = False
        while self._open and self.client.status == "running":
            with suppress(Exception):
                threads = sum((await self.client.nthreads()).values())  # type: ignore[misc]
                if not threads and not absent:
                    warnings.warn(f"no worker is left at {self.address}; waiting for one", ClusterWarning, stacklevel=2)
                self.threads, absent = max(1, threads), not threads
                self._send()
            await asyncio.sleep(WATCH)

    async def _follow(self, task: _Task) -> None:
        """Send a task, and again where its workers are lost, until its future has an end."""
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            while task in self._sent and not task.future.done():
                try:
                    future = await self._submitted(task)
                    parcel = await self.client.gather(future, direct=self.direct)  # type: ignore[misc]
                    _end(task, await asyncio.to_thread(_content, parcel))
                except KilledWorker as error:
                    task.losses += error.allowed_failures + 1
                    if task.losses >= LOSSES:
                        raise _blamed(task, error) from None
                except (CancelledError, CommClosedError) as error:
                    if self.client.status != "running" or getattr(error, "reason", "") == "scheduler-connection-lost":
                        self._lose()
                    task.losses += 1
                    if task.losses >= LOSSES and self._open:
                        raise WorkerLost(f"{task.losses} times what a task needs was lost at {self.address}") from None
        except BaseException as error:  # whatever a task raises is its future's
            _end(task, _without_untwin(error))
        finally:
            with self._lock:
                self._sent.discard(task)
            self._send()

    async def _submitted(self, task: _Task) -> Any:
        shared = None
        if task.shared is not None:
            shared = await self._shared(task.shared)
        parcel, key = Parcel(task.call), f"untwin-{uuid.uuid4().hex}"
        future = await asyncio.to_thread(self.client.submit, _run, parcel, shared, versions(), self.run, key=key, pure=False)
        with self._lock:
            self._futures.add(future)
            closed = not self._open
        if closed:
            await self.client.cancel(future)
        return future

    async def _shared(self, shared: Shared) -> Any:
        if shared.ready is None or shared.lost:
            shared.future = None
            shared.ready = asyncio.ensure_future(self._spread(shared))
        await shared.ready
        return shared.future

    async def _spread(self, shared: Shared) -> None:
        """To one worker, and from it to the others, so that nobody waits. Whoever comes later gets it with its first task."""
        from distributed import wait

        parcel, key = Parcel(shared.content), f"untwin-shared-{uuid.uuid4().hex}"
        shared.future = await asyncio.to_thread(self.client.submit, _itself, parcel, key=key, pure=False)
        with self._lock:
            self._futures.add(shared.future)
        with suppress(Exception):  # tasks that need it meet the same
            await wait(shared.future)
            await self.client.replicate([shared.future])  # type: ignore[misc]

    def _lose(self) -> None:
        """The scheduler is lost, and with it everything that it held."""
        with self._lock:
            self._open = False
            tasks = [*self._waiting, *self._sent]
            self._waiting.clear()
            self._sent.clear()
        for task in tasks:
            _end(task, SchedulerLost(f"the scheduler at {self.address} no longer answers"))


def _on_loop(client: Client, work: Callable[[], Coroutine]) -> Future:
    """In the thread of the client."""
    return asyncio.run_coroutine_threadsafe(work(), client.loop.asyncio_loop)  # type: ignore[union-attr]


def _end(task: _Task, outcome: Any) -> None:
    """Set a future once."""
    future = task.future
    if future.done() or (not future.running() and not future.set_running_or_notify_cancel()):
        return
    if isinstance(outcome, Stopped):
        outcome = KeyboardInterrupt()
    with suppress(Exception):
        (future.set_exception if isinstance(outcome, BaseException) else future.set_result)(outcome)


def _blamed(task: _Task, error: Any) -> WorkerLost:
    function = task.call[0].__name__
    return WorkerLost(
        f"{task.losses} workers were lost over one task ({function.strip('_')}), the last {error.last_worker.address}: does it need more "
        "memory than a worker has? Try workers with more of it, fewer on a machine, or a smaller array"
    )


def _without_untwin(error: BaseException) -> BaseException:
    """What it means where a worker or the scheduler cannot open a task."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ModuleNotFoundError) and str(cause.name).partition(".")[0] == "untwin":
            return InputError("the scheduler or a worker has no untwin; start them from the environment of this process")
        cause = cause.__cause__ or cause.__context__
    return error


def _address(client: Client) -> str:
    return str(getattr(client.scheduler, "address", "") or "a closed client")


# Connections


@contextmanager
def executor(scheduler: Any, workers: int | None = None) -> Iterator[ClusterExecutor]:
    """An executor on the workers of a scheduler, which have been asked for their versions.

    scheduler: a distributed.Client, a cluster of Dask (LocalCluster, SLURMCluster), an address such as "tcp://host:8786", the path of a
        scheduler file, or "local": worker processes on this machine. workers: how many, for "local"; by default all cores.
    Raises InputError within seconds where nobody answers, no worker is there, or one has other versions. Where the block raises, what is
    under way is stopped. A client or a cluster that was handed in stays open.
    """
    with _client(scheduler, workers) as client, _large_messages():
        tasks = ClusterExecutor(client, _require_workers(client), _reaches_workers(client))
        try:
            yield tasks
        except BaseException:
            tasks.stop()
            raise
        finally:
            tasks.shutdown()


@contextmanager
def _client(scheduler: Any, workers: int | None) -> Iterator[Client]:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("a cluster needs Dask: pip install 'untwin[cluster]'") from None
    if isinstance(scheduler, Client):
        if scheduler.asynchronous or scheduler.status != "running":
            kind = "asynchronous" if scheduler.asynchronous else scheduler.status
            raise InputError(f"scheduler is a Client that is {kind}; expected one that is connected: Client(address)")
        yield scheduler
        return
    from distributed.versions import VersionMismatchWarning

    with _quiet(), _local(workers) if scheduler == "local" else nullcontext(scheduler) as target:
        name, address = _target(target)
        try:
            with ThreadPoolExecutor(1) as thread:  # that of a notebook has a loop of its own
                identity = thread.submit(asyncio.run, _identity(address)).result()
            if identity.get("type") != "Scheduler":
                raise OSError(f"a {identity.get('type')} of Dask does")
        except Exception as error:  # whatever answers there
            text = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"no Dask scheduler answers at {name} ({text}); start one with: dask scheduler") from None
        with ignored(VersionMismatchWarning):  # of what decides nothing here; the rest is asked for
            client = Client(target if hasattr(target, "scheduler_address") else address, timeout=ANSWER, set_as_default=False)
        try:
            yield client
        finally:
            with suppress(Exception):
                client.close(timeout=ANSWER)


async def _identity(address: str) -> dict[str, Any]:
    """What whoever listens there says that it is. A Client that meets something else does not always end."""
    from distributed import Security
    from distributed.core import rpc

    remote = rpc(address, connection_args=Security().get_connection_args("client"), timeout=ANSWER)
    try:
        return dict(await asyncio.wait_for(remote.identity(), ANSWER) or {})
    finally:
        await remote.close_rpc()


def _target(scheduler: Any) -> tuple[str, str]:
    """Its name in a message, and its address."""
    if hasattr(scheduler, "scheduler_address"):
        return str(scheduler.scheduler_address), str(scheduler.scheduler_address)
    if not isinstance(scheduler, str | Path):
        raise InputError(f"scheduler is a {type(scheduler).__name__}; {EXPECTED}")
    text = str(scheduler)
    if re.fullmatch(r"[\w+.-]+://\S+", text):
        return text, text
    if re.fullmatch(r"(?!.*\.json)[\w.-]+:\d+", text):
        return text, f"tcp://{text}"
    path = Path(text).expanduser()
    if not path.is_file():
        raise InputError(f"no scheduler file {text}; {EXPECTED}")
    try:
        address = str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{text} is no scheduler file of Dask; start the scheduler with: dask scheduler --scheduler-file {text}") from None
    return f"{address} ({text})", address


@contextmanager
def _local(workers: int | None) -> Iterator[Any]:
    """Worker processes on this machine, with one thread each. Their memory is not limited, as that of the pool is not. One that dies is
    begun again; Dask would give it up where it is not back a quarter of a minute after it died."""
    from dask import config
    from distributed import LocalCluster

    quiet = {"silence_logs": logging.CRITICAL, "dashboard_address": "127.0.0.1:0"}
    settings = {"threads_per_worker": 1, "processes": True, "memory_limit": 0, "env": worker_environment(), "preload": "untwin.cluster"}
    patient = config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})
    with patient, LocalCluster(n_workers=workers or cores(), **settings, **quiet) as cluster:
        yield cluster


def dask_setup(worker: Any) -> None:
    """Dask calls this in each worker process of `_local` as it begins."""
    calm()


@contextmanager
def _large_messages() -> Iterator[None]:
    """Inside, Dask does not warn that arrays travel with tasks: they are those of one start, or of the pattern, once."""
    from dask import config

    with config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, what Dask writes down of a connection that is lost or slow is not shown: the one message says it."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client", "distributed.comm", "tornado")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _require_workers(client: Client) -> int:
    """How many threads there are. Raises InputError where there is none, or one has other versions than this process. Who does not answer
    in time, or comes later, is asked with the first task."""
    from distributed import TimeoutError as LateError

    with suppress(LateError, TimeoutError):
        client.wait_for_workers(1, timeout=ANSWER)
    threads = sum(client.nthreads().values())  # type: ignore[union-attr]
    if not threads:
        raise InputError(
            f"no worker at {_address(client)} within {ANSWER:g} s; start some with: dask worker {_address(client)} --nthreads 1, and where "
            "they take longer to begin, wait for them: client.wait_for_workers(1)"
        )

    async def ask() -> dict[str, Any]:
        return await client.run(introduction, on_error="return")

    answers: dict[str, Any] = {}
    with suppress(TimeoutError):
        answers = _on_loop(client, ask).result(ANSWER)
    for worker, answer in answers.items():
        if isinstance(answer, Exception) and not isinstance(answer, OSError):  # an OSError: it is gone
            raise InputError(f"the worker {worker} has no untwin ({answer}); start the workers from the environment of this process")
        if isinstance(answer, dict):
            _require_same(worker, versions(), answer)
    return threads


def _reaches_workers(client: Client) -> bool:
    """True where this process can connect to a worker: a result then costs the scheduler nothing."""

    async def reach() -> None:
        future = client.submit(len, b"", key=f"untwin-reach-{uuid.uuid4().hex}", pure=False)
        await client.gather(future, direct=True)  # type: ignore[misc]

    with suppress(Exception):
        _on_loop(client, reach).result(1.0)
        return True
    return False
