"""Why a run, or a part of it, failed: each reason with its sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from untwin.solve.state import Member


class Failure(StrEnum):
    """What can fail. The first two are reasons of single starts, the others sentences on a whole run."""

    NAN = "NaN or infinity"
    EMPTY = "empty support"
    SOME = "{parts} failed ({reasons}) and were left out; others stand in for them"
    MOST = "{count} starts failed ({reasons}), more than half; the result rests on the {living} that did not"
    ALL = "every start failed: {first} ({count} tried); try more starts, another recipe or a given support"


Failures = tuple[tuple["Member", Failure], ...]
PLURAL = {"start": "starts", "child": "children", "candidate": "candidates", "refinement": "refinements"}


def reasons(failures: Failures) -> str:
    """Such as "2 by NaN or infinity, 1 by empty support"."""
    return ", ".join(f"{n} by {reason}" for reason, n in Counter(reason for _, reason in failures).items())


def counted(members: Iterable[Member]) -> str:
    """Such as "2 starts, 1 child"."""
    roles = Counter(m.role for m in members)
    return ", ".join(f"{n} {role if n == 1 else PLURAL.get(role, role)}" for role, n in roles.items())
