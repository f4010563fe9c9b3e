"""Processes on this machine: how many, one thread in each, and how they are asked to stop."""

from __future__ import annotations

import ctypes
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from untwin.errors import WorkerLost

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from torch import Tensor


def cores() -> int:
    """Processor cores that this process may use: the least of the machine's, its affinity (which Slurm sets), the quota of its container,
    and LOKY_MAX_CPU_COUNT."""
    from loky import cpu_count

    return cpu_count()


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch works with one thread: arrays of this size gain nothing from more, and two pools would spin against each other.

    torch keeps a number for each thread of Python, and begins a new one with what any other has set last: this would be the 1 of a run
    that is still at work, so what such a thread goes back to is what that run goes back to.
    """
    import torch

    me = threading.get_ident()
    if me in _numbers:
        yield
        return
    with _lock:
        own = torch.get_num_threads()
        _numbers[me] = next(iter(_numbers.values()), own) if own == 1 else own
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            torch.set_num_threads(_numbers.pop(me))


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_lock = threading.Lock()
_numbers: dict[int, int] = {}  # by thread of Python that is inside `one_thread`: the number that it goes back to
_pools: list[Executor] = []  # one entry for each `pool` block that is open; all of a process share their workers
_known: WeakSet[Executor] = WeakSet()  # those that have had workers
_filters = threading.RLock()


@contextmanager
def ignored(category: type[Warning] = Warning) -> Iterator[None]:
    """Inside, warnings of a category are not heard. The filters belong to the process: one thread at a time changes them."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield


@contextmanager
def pool(workers: int) -> Iterator[Executor]:
    """Worker processes with one thread each; they are ended at once where the block raises (Ctrl-C too), unless another thread's block
    is open, which has the same ones. Raises WorkerLost where a worker was ended from outside."""
    import torch
    from loky import get_reusable_executor
    from loky.process_executor import TerminatedWorkerError

    reducers = {torch.Tensor: _as_array}
    with _lock:
        executor = get_reusable_executor(
            max_workers=workers,
            env=worker_environment(),
            timeout=60,
            initializer=_begin,
            job_reducers=reducers,
            result_reducers=reducers,
        )
        _pools.append(executor)
        _known.add(executor)
    failed = True
    try:
        yield executor
        failed = False
    except TerminatedWorkerError:
        failed = False
        raise WorkerLost("a worker process was ended from outside (out of memory?); try fewer workers or a smaller array") from None
    finally:
        with _lock:
            _pools.remove(executor)
            if failed and executor not in _pools:
                executor.shutdown(wait=True, kill_workers=True)


def dismiss_workers() -> None:
    """Workers that wait are ended, unless a `pool` block is open: each takes 0.4 GB. The next pool begins others."""
    with _lock:
        if not _pools:
            for executor in list(_known):
                executor.shutdown(wait=True)
            _known.clear()


def worker_environment() -> dict[str, str]:
    """Variables of a worker process, which are read before it has any of this: one thread, and freed blocks stay (glibc)."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**threads, "MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}


def _begin() -> None:
    """A worker of the pool: where psutil is there, loky would end one that has grown by 300 MB, and arrays of a run are larger."""
    from loky import process_executor

    process_executor._USE_PSUTIL = False
    calm()


@lru_cache
def keep_freed_blocks() -> None:
    """In a process that was begun without `worker_environment`: freed blocks stay (glibc), where arrays would be taken from the system and
    given back in every step."""
    with suppress(OSError, AttributeError, TypeError):  # the last is Windows'
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_THRESHOLD, 2**30)


def calm() -> None:
    """Signals go to every process of a terminal or of a job; this one leaves them to its parent, which then ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


GRACE_PERIOD = 3.0  # seconds that a step may still take when the user wants to stop
_unwanted: dict[int, Callable[[], bool]] = {}  # by thread of Python that is inside `interruptible`


@contextmanager
def interruptible(unwanted: Callable[[], bool]) -> Iterator[None]:
    """Inside, in this thread, `stoppable` asks whether the work is unwanted, where no signal is heard."""
    me = threading.get_ident()
    _unwanted[me] = unwanted
    try:
        yield
    finally:
        del _unwanted[me]


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Inside, the signals that would raise KeyboardInterrupt wait: the loop asks between two steps whether there was one, and raises it
    itself. Where a step lasts too long, it is raised within. Later signals are not heard until the block ends."""
    ours = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is signal.default_int_handler]
    if not ours or threading.current_thread() is not threading.main_thread():
        yield _unwanted.get(threading.get_ident(), lambda: False)
        return
    caught: list[int] = []
    alarm: list[Any] = []  # the handler of the alarm that is replaced, while ours is set

    def take(number: int, frame: Any) -> None:
        if not caught and hasattr(signal, "setitimer"):
            alarm.append(signal.signal(signal.SIGALRM, late))
            signal.setitimer(signal.ITIMER_REAL, GRACE_PERIOD)
        caught.append(number)

    def late(number: int, frame: Any) -> None:
        disarm()
        raise KeyboardInterrupt

    def disarm() -> None:
        if alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm.pop())

    def stop_requested() -> bool:
        if caught:
            disarm()
        return bool(caught)

    for number in ours:
        signal.signal(number, take)
    try:
        yield stop_requested
        if stop_requested():
            raise KeyboardInterrupt
    finally:
        disarm()
        for number in ours:
            signal.signal(number, signal.default_int_handler)


def sealed(content: Any) -> memoryview:
    """As bytes that another process opens, with the tensors in it as short as they can be."""
    import torch
    from loky.backend.reduction import dumps

    return dumps(content, reducers={torch.Tensor: _as_array})


def opened(content: bytes | memoryview) -> Any:
    """What was sealed, by a process that is trusted."""
    from loky.backend.reduction import loads

    return loads(content)


def _as_array(tensor: Tensor) -> Any:
    """How a tensor travels to another process: as a NumPy array where it can, a bit for a bool, and without its zeros where these are most
    of it. torch's own way costs tens of milliseconds each."""
    import torch

    if not tensor.is_cpu or tensor.requires_grad or not tensor.ndim or tensor.dtype == torch.bfloat16:
        return tensor.__reduce_ex__(2)
    array = np.ascontiguousarray(tensor.resolve_conj().resolve_neg().numpy())
    if array.dtype == bool:
        return _from_bits, (np.packbits(array), array.shape)
    words = array.view(np.uint32).reshape(*array.shape, array.itemsize // 4) if array.itemsize % 4 == 0 else None
    if words is not None and np.count_nonzero(words) < words.size / 2:
        present = words.any(-1)  # bits and not values: -0.0 is none of the zeros
        return _from_values, (np.packbits(present), array[present], array.shape)
    return torch.from_numpy, (array,)


def _bits(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.unpackbits(packed, count=int(np.prod(shape))).view(bool).reshape(shape)


def _from_bits(packed: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    import torch

    return torch.from_numpy(_bits(packed, shape))


def _from_values(packed: np.ndarray, values: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    import torch

    array = np.zeros(shape, values.dtype)
    array[_bits(packed, shape)] = values
    return torch.from_numpy(array)
