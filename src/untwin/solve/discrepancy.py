"""When what is left of the data is as large as their noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from untwin.checks import require_int, require_number
from untwin.solve.state import CHECK
from untwin.solve.stopping import Keeper, RuleState

if TYPE_CHECKING:
    from untwin.model.inverse import InverseProblem
    from untwin.model.noise_level import Noise
    from untwin.solve.state import State


@dataclass(frozen=True, repr=False)
class Discrepancy(Keeper):
    """Stop a start where its mean squared misfit falls to tau times the variance of the noise (Morozov, Soviet Math. Dokl. 7, 1966), and
    keep that image:

        Σ w |f − y|² <= tau Σ w v(f),    over what was measured.

    A picture: v = sigma², w = 1; for the losses Poisson and Gamma, whose noise grows with what is measured, v = sigma² f and sigma² f². Of
    a picture that was clipped, v is the variance that clipping leaves. A pattern of counts: v = f, w = 1 / (f + 1), and nothing is to be
    given.

    sigma: deviation of the noise in the unit of the picture, of complex data that of |noise|; by default estimated from the picture
        (model.noise_level).
    tau: below 1, because an image that was fitted to the data lies nearer to them than the truth does; the default is that of the table in
        docs/deep-priors.md.
    patience: a start that comes to a standstill above that is stopped after so many steps in which its misfit has not fallen by 1 %; where
        data have hardly any noise, that is how it ends.
    Raises InputError before the first step where the noise is not known: a pattern whose numbers are no counts, impulses.
    """

    sigma: float | None = None
    tau: float = 0.82
    patience: int = 500

    def __post_init__(self) -> None:
        if self.sigma is not None:
            require_number(self, "sigma", 0)
        require_number(self, "tau", 0, 10, above=True)
        require_int(self, "patience", 1, 1_000_000)

    def first(self, problem: InverseProblem, state: State) -> Noise:
        return problem.noise(self.sigma)

    def observe(self, problem: InverseProblem, state: State) -> State:
        import torch

        w: RuleState = state.rule_state
        value = problem.relative_misfit(problem.project_object(state.image, state.support), w.aux)
        running = ~w.stopped
        latest = running & value.isfinite()
        wide = latest.reshape((-1,) + (1,) * (state.x.ndim - 1))
        lower = running & (value < 0.99 * w.best)
        since = torch.where(lower, torch.zeros_like(w.since), w.since + 1)
        stopped = w.stopped | (value <= self.tau) | (since >= self.patience)
        if state.step % CHECK == 0:
            stopped = stopped | ~state.finite()
        rule_state = replace(
            w,
            value=value,
            best=torch.where(lower, value, w.best),
            since=since,
            at=torch.where(latest, torch.full_like(w.at, state.step), w.at),
            image=torch.where(wide, state.image, w.image),
            x=torch.where(wide, state.x, w.x),
            support=torch.where(wide, state.support, w.support),
            stopped=stopped,
            nuisance={name: torch.where(latest, values, w.nuisance[name]) for name, values in state.nuisance.items()},
        )
        return state.replace(rule_state=rule_state)
