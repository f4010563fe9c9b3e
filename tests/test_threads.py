"""Two runs in two threads of one process do not disturb each other."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch

import untwin as ut
from untwin import processes
from untwin.engine import memory
from untwin.model.networks.base import single_precision
from untwin.processes import ignored, one_thread, pool
from untwin.simulate import shapes
from untwin.simulate.detector import measure

PATIENCE = 60.0  # seconds until a test that waits for ever gives up


class Turns:
    """Events by name, each waited for with an end."""

    def __init__(self) -> None:
        self.events: dict[str, threading.Event] = {}
        self.lock = threading.Lock()

    def event(self, name: str) -> threading.Event:
        with self.lock:
            return self.events.setdefault(name, threading.Event())

    def wait(self, name: str) -> None:
        assert self.event(name).wait(PATIENCE), f"{name} never came"

    def come(self, name: str) -> None:
        self.event(name).set()


def together(*works: Callable[[], Any]) -> list[Any]:
    """What they return, each from a thread of its own."""
    with ThreadPoolExecutor(len(works)) as executor:
        return [f.result(PATIENCE) for f in [executor.submit(work) for work in works]]


@pytest.fixture
def two_threads_of_torch():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("first_out", ["a", "b"])
def test_torch_has_one_thread_until_each_has_left_and_then_what_it_had(two_threads_of_torch, first_out):
    turns = Turns()
    second_out = "b" if first_out == "a" else "a"

    def work(name: str, other: str) -> tuple[int, ...]:
        with one_thread():
            inside = [torch.get_num_threads()]
            turns.come(f"{name} in")
            turns.wait(f"{other} in")
            if name == second_out:
                turns.wait(f"{other} out")
                inside.append(torch.get_num_threads())
            with one_thread():
                inside.append(torch.get_num_threads())
            inside.append(torch.get_num_threads())
        turns.come(f"{name} out")
        return (*set(inside), torch.get_num_threads())

    def late() -> tuple[int, ...]:
        turns.wait("a in")  # this thread begins while another has set torch to 1
        return work("b", "a")

    assert together(lambda: work("a", "b"), late) == [(1, 2), (1, 2)]
    assert torch.get_num_threads() == 2 and together(torch.get_num_threads) == [2], "also for threads that begin now"


def test_convolutions_stay_in_single_precision_until_the_last_has_left():
    turns = Turns()
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True

    def first() -> bool:
        with single_precision():
            turns.come("first in")
            turns.wait("second in")
        turns.come("first out")
        return True

    def second() -> bool:
        turns.wait("first in")
        with single_precision():
            turns.come("second in")
            turns.wait("first out")
            return torch.backends.cudnn.allow_tf32

    try:
        assert together(first, second) == [True, False] and torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


def test_every_thread_has_a_skeleton_of_its_own():
    """functional_call puts the weights of its caller into the skeleton while it works."""
    network = ut.priors.Skip(depth=1, width=4, inputs=2)
    turns = Turns()

    def work(name: str, other: str) -> Any:
        module = network.module((8, 8), 1)
        turns.come(name)
        turns.wait(other)  # or else one thread would do both
        return module, network.module((8, 8), 1)

    (a, again), (b, _) = together(lambda: work("a", "b"), lambda: work("b", "a"))
    assert a is again and a is not b


def test_blocks_of_memory_are_lent_to_one_thread_at_a_time():
    shape = (memory.SMALL // 4,)

    def work(number: int) -> bool:
        for _ in range(2000):
            t = memory.empty(shape, torch.float32)
            t[:3] = number
            t[-3:] = number
            if bool((t[:3] != number).any() | (t[-3:] != number).any()):
                return False
        return True

    assert all(together(*(lambda number=number: work(number) for number in range(4))))
    memory.release()


def test_one_thread_at_a_time_changes_the_filters_of_warnings():
    before = list(warnings.filters)
    with ignored(DeprecationWarning):
        warnings.warn("not heard", DeprecationWarning, stacklevel=1)
        assert together(lambda: processes._filters.acquire(blocking=False)) == [False]
    assert list(warnings.filters) == before


def test_a_pool_that_fails_leaves_the_workers_of_another():
    from loky import get_reusable_executor

    with pool(1) as outer:
        with suppress(KeyError), pool(1):
            raise KeyError
        assert outer.submit(pow, 2, 5).result(PATIENCE) == 32
    get_reusable_executor().shutdown(wait=True)


def test_workers_that_wait_are_dismissed_and_those_of_an_open_block_are_not():
    import os

    import psutil

    with pool(1) as outer:
        worker = psutil.Process(outer.submit(os.getpid).result(PATIENCE))
        processes.dismiss_workers()
        assert outer.submit(pow, 2, 5).result(PATIENCE) == 32
    processes.dismiss_workers()
    worker.wait(PATIENCE)  # raises where it goes on
    with pool(1) as another:
        assert another.submit(pow, 2, 5).result(PATIENCE) == 32
    processes.dismiss_workers()


PICTURE = (0.5 + 0.1 * np.random.default_rng(0).normal(size=(1, 20, 24))).astype(np.float32)
NETWORK = ut.algorithms.Fit(ut.priors.Untrained(ut.priors.Skip(depth=2, width=8, inputs=4)), average=0.9)
DICE = np.random.default_rng(0)
PATTERN = measure(shapes.poly((112, 112), DICE), 1e6, DICE)[0]  # 12 starts fill blocks that are used again


def restored(seed: int, met: Callable[[], Any]) -> torch.Tensor:
    return ut.restore(PICTURE, prior=NETWORK, steps=12, seed=seed, report=lambda *_: met()).image


def validated(seed: int, met: Callable[[], Any]) -> torch.Tensor:
    stop = ut.rules.SelfValidation(window=3, size=16, batch=2)
    return ut.restore(PICTURE, prior=ut.algorithms.Fit(ut.priors.Grid()), stop=stop, steps=8, seed=seed, report=lambda *_: met()).image


def reconstructed(seed: int, met: Callable[[], Any]) -> torch.Tensor:
    met()
    return ut.reconstruct(PATTERN, "2*(12*HIO + ShrinkWrap) + 12*ER", starts=12, seed=seed, workers=1).image


@pytest.mark.parametrize("run", [restored, validated, reconstructed])
def test_two_runs_in_two_threads_end_with_the_bits_that_they_have_alone(run):
    """Of one network, one grid and one size of memory, step by step beside each other where a run reports its steps."""
    alone = [run(seed, lambda: None) for seed in (0, 1)]
    assert not torch.equal(*alone)
    barrier = threading.Barrier(2)
    beside = together(*(lambda seed=seed: run(seed, lambda: barrier.wait(PATIENCE)) for seed in (0, 1)))
    assert torch.equal(alone[0], beside[0]) and torch.equal(alone[1], beside[1])
