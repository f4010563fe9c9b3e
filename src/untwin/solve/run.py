"""The only loop over steps. Progress, pictures, logs and checkpoints are ordinary code around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from untwin.solve.recipe import Recipe, segments

if TYPE_CHECKING:
    from untwin.model.problem import Problem
    from untwin.solve.state import State


def iterate(problem: Problem, recipe: Recipe, state: State) -> Iterator[State]:
    """Yield the state after each step of the recipe, from where `state.at` says (0: the beginning).

    A rule is asked after each step of its segment; when every start has stopped, the rest of the segment is passed over.
    """
    flat = tuple(segments(recipe))
    total = Counter(a for _, algorithms in flat for a in algorithms)
    taken: Counter = Counter()
    at = 0
    previous = None
    for rule, algorithms in flat:
        entered = state.at > at  # resumed inside this segment: its watch and memory are in the state
        if rule and not entered and state.at < at + len(algorithms):
            state = rule.begin(problem, state)
        over = False
        for algorithm in algorithms:
            at += 1
            n, k = total[algorithm], taken[algorithm]
            taken[algorithm] += 1
            if at <= state.at:
                previous = algorithm
                continue
            if over:
                continue
            state = replace(state, progress=k / (n - 1) if n > 1 else 1.0)
            if algorithm != previous:
                state = algorithm.begin(problem, replace(state, memory=None))
                previous = algorithm
            state = replace(algorithm.step(problem, state), step=state.step + 1, at=at)
            if rule:
                state = rule.look(problem, state)
                over = bool(rule.done(state).all())
            yield state
        if rule and state.watch is not None:
            state = replace(rule.keep(state), at=at)
            yield state
