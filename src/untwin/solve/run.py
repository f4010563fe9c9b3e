"""The only loop over steps. Progress, pictures, logs and checkpoints are ordinary code around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from untwin.errors import InputError
from untwin.solve.recipe import Recipe, Rule, require_suited, segments
from untwin.solve.state import CHECK, State

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.inverse import InverseProblem


def iterate(problem: InverseProblem, recipe: Recipe, state: State, every: int = 1) -> Iterator[State]:
    """Yield the state after each step of the recipe, from where `state.at` says (0: the beginning).

    every: above 1, equal steps are taken together where that is faster, and the state is yielded after each stretch of them: after
        each multiple of `every` steps at least. The states are the same.

    A rule looks at each step of its segment (or at each `every`-th, Rule); when every start has stopped, or come to NaN or infinity, the
    rest of the segment is passed over. Whether they have is asked after each step on a CPU and every CHECK steps on other devices, which
    would have to wait for the answer. Algorithms begin anew in every segment. Any state that was yielded can be handed in again, and the
    run goes on as if it had never stopped.
    """
    require_suited(problem, recipe)
    state = suited(problem, state)
    flat = tuple(segments(recipe))
    total = Counter(a for _, algorithms in flat for a in algorithms)
    taken: Counter = Counter()
    start = 0
    for rule, algorithms in flat:
        end = start + len(algorithms)
        finished = state.at > end or (state.at == end and not (rule and state.rule_state is not None))
        if finished:
            taken.update(algorithms)
            start = end
            continue
        steps_problem = rule.problem_for_steps(problem) if rule else problem
        if rule and state.at == start:
            state = rule.begin(_with_unknowns(problem, state), state)
        previous = algorithms[state.at - start - 1] if state.at > start else None
        between, stopped = 1 if state.x.is_cpu else CHECK, False
        for at, algorithm in enumerate(algorithms, start + 1):
            n, k = total[algorithm], taken[algorithm]
            taken[algorithm] += 1
            if at > state.at and rule and not stopped and state.step % between == 0:
                stopped = _all_stopped(rule, state)
            if at <= state.at or stopped:
                continue
            state = state.replace(progress=k / (n - 1) if n > 1 else 1.0)
            if algorithm != previous:
                state = algorithm.begin(_with_unknowns(steps_problem, state), state.replace(memory=None))
                previous = algorithm
            steps, taken_here = 1, at - start - 1
            if every > 1 and algorithm.steady and (rule is None or rule.every > 1):
                most = min(every - state.step % every, rule.every - taken_here % rule.every if rule else every)
                ahead = algorithms[taken_here : taken_here + most]
                steps = next((i for i, a in enumerate(ahead) if a != algorithm), len(ahead))
            now = _with_unknowns(steps_problem, state)
            after = algorithm.stretch(now, state, steps) if steps > 1 else algorithm.step(now, state)
            state = after.replace(step=state.step + steps, at=at + steps - 1)
            looked_at = rule is not None and (state.at - start) % rule.every == 0
            yield (state := rule.observe(_with_unknowns(problem, state), state) if rule and looked_at else state)
        if rule:
            yield (state := _restored(rule, state).replace(at=end))
        start = end


def _all_stopped(rule: Rule, state: State) -> bool:
    """Whether every start has been stopped, or has come to NaN or infinity, which is looked for every CHECK steps."""
    import torch

    stopped = rule.done(state)
    if not isinstance(stopped, torch.Tensor) or stopped.dtype != torch.bool or tuple(stopped.shape) != (len(state.members),):
        gives = f"{tuple(stopped.shape)} {stopped.dtype}" if isinstance(stopped, torch.Tensor) else type(stopped).__name__
        expected = "a bool tensor of shape (starts,), true where a start is to stop, such as value < level"
        raise InputError(f"{rule!r}: `done` gives {gives}; expected {expected}")
    return bool((stopped | ~state.finite() if state.step % CHECK == 0 else stopped).all())


def _restored(rule: Rule, state: State) -> State:
    """The state with what the rule keeps. Raises InputError where this is NaN or infinity, and the last image is not."""
    restored = rule.restore_best(state)
    if bool((_finite(state) & ~_finite(restored)).any()):
        raise InputError(f"{rule!r} keeps an image of NaN or infinity, and the last one is finite; keep an image only where it is finite")
    return restored


def _finite(state: State) -> Tensor:
    return state.image.flatten(1).isfinite().all(1)


def _with_unknowns(problem: InverseProblem, state: State) -> InverseProblem:
    """The problem with the values that the state has for its unknowns."""
    return problem.holding(state.nuisance) if state.nuisance else problem


def suited(problem: InverseProblem, state: State) -> State:
    """The state, with first values for unknowns that it has none for. Raises InputError where it is none of this problem."""
    import torch

    shape = (len(state.members), *problem.shape)
    for name in ("x", "image", "support", "bounds"):
        part = getattr(state, name)
        if tuple(part.shape) != shape:
            raise InputError(f"the state's {name} has shape {tuple(part.shape)}, expected (starts, *grid) = {shape}")
        if name in ("support", "bounds") and part.dtype != torch.bool:
            raise InputError(f"the state's {name} is {part.dtype}; expected torch.bool, such as {name} != 0")
        if part.device.type != torch.device(problem.device).type:
            raise InputError(f"the state's {name} is on {part.device}, the problem on {problem.device}; bring them together with .to")
    kind = state.x.real.dtype if state.x.is_complex() else state.x.dtype
    if problem.precision not in (None, kind):
        raise InputError(
            f"the state is in {state.x.dtype}, the problem in {problem.precision}; take x.to(...), or problem.to(dtype={kind})"
        )
    if unknown := state.nuisance.keys() - problem.unknowns.keys():
        raise InputError(f"the state has values for {', '.join(sorted(unknown))}, which the physics does not ask for")
    if state.nuisance.keys() != problem.unknowns.keys():
        return state.replace(nuisance=problem.first_values(len(state.members)) | state.nuisance)
    return state
