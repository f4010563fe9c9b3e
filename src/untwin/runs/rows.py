"""A line of the table of plans, and a number in it with where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

UNMEASURED = "unmeasured"


class Number(NamedTuple):
    """A setting and where it comes from."""

    value: Any  # a number, or a tuple of them
    source: str = UNMEASURED


@dataclass(frozen=True)
class Row:
    """A line of the table: where `holds`, `text` with its numbers filled in is what is done. condition: the same in words."""

    condition: str
    holds: Callable[[Any], bool]  # of auto.Facts
    text: str
    numbers: dict[str, Number] = field(default_factory=dict)

    def filled(self, **others: Any) -> str:
        """The text of the stages. others: numbers that the caller knows better."""
        values = {name: number.value for name, number in self.numbers.items()} | others
        return self.text.format(**values)
