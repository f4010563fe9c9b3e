"""Further families, as long as no two results are similar."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from untwin.checks import require_int, require_number
from untwin.expression import former_settings
from untwin.runs.stages.base import MOST, Arrays, Cohort, Context, Rank, Size, Unforeseen
from untwin.runs.stages.search import Search

MAX_DISAGREEMENT = 0.3  # E between two results that are on their way to the same object, before a finish (unmeasured)


@former_settings(near="max_disagreement")
@dataclass(frozen=True, repr=False)
class Reserve(Unforeseen):
    """One more family at a time goes through all stages before this one, until two results differ by less than `max_disagreement`.

    families: at most so many, each of the size of the search's largest. max_disagreement: E. A broken run gets none.
    It stands behind what it repeats and knows nothing of it but that the first is a Search.
    """

    families: int = 1
    max_disagreement: float = MAX_DISAGREEMENT

    rank: ClassVar[Rank] = Rank.FAMILIES
    title: ClassVar[str] = "more families"

    def __post_init__(self) -> None:
        require_int(self, "families", 0, MOST)
        require_number(self, "max_disagreement", 0, 1, below=True)

    def arrays(self, size: Size) -> Arrays:
        return Arrays(0)  # what a family takes in the stages before it, and these have more

    def run(self, cohort: Cohort, context: Context) -> Cohort:
        for _ in range(0 if cohort.broken else self.families):
            if cohort.disagreement(context.problem) < self.max_disagreement:
                break
            cohort = self._raised(cohort, context)
        return cohort

    def _raised(self, cohort: Cohort, context: Context) -> Cohort:
        """The cohort with one more family, which has seen none of the others."""
        extra = replace(cohort, families=(), generations=0)
        for i, stage in enumerate(context.before):
            alone = replace(stage, starts=stage.members, families=1) if isinstance(stage, Search) else stage
            extra = alone.run(extra, replace(context, before=context.before[:i]))
        return replace(extra, families=cohort.families + extra.families, generations=cohort.generations, broken=cohort.broken)
