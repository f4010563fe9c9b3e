"""Classes of other packages: an algorithm, rule, prior, loss, physics or stage that an installed package offers to recipes by name.

A package offers it in its pyproject.toml, and no file of data can:

    [project.entry-points."untwin"]
    MyAlgorithm = "my_package:MyAlgorithm"

Reference: entry points, Python Packaging User Guide. A class is imported when a text names it and not before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from untwin.errors import InputError

GROUP = "untwin"


@cache
def _offered() -> dict[str, list[EntryPoint]]:
    offers: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        offers.setdefault(entry.name, []).append(entry)
    return offers


class WithPlugins(Mapping[str, type]):
    """A table of names, and after them those of installed packages. A name of untwin's own comes first."""

    def __init__(self, own: Mapping[str, type]):
        self.own = own

    def __getitem__(self, name: str) -> type:
        return self.own[name] if name in self.own else _loaded(_offered()[name])

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in _offered()

    def __iter__(self) -> Iterator[str]:
        return iter({**self.own, **_offered()})

    def __len__(self) -> int:
        return len({**self.own, **_offered()})


def _loaded(entries: list[EntryPoint]) -> type:
    entry = entries[0]
    if len(entries) > 1:
        packages = ", ".join(sorted(_package(e) for e in entries))
        raise InputError(f"the name {entry.name} is offered by {packages}; expected one of them; uninstall the others")
    try:
        cls = entry.load()
    except Exception as error:
        raise InputError(
            f"{entry.name} of {_package(entry)} ({entry.value}) cannot be imported: {type(error).__name__}: {error}; expected a class"
        ) from error
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen):  # pyright: ignore[reportAttributeAccessIssue]
        raise InputError(f"{entry.name} of {_package(entry)} is {cls!r}; expected a frozen dataclass, as every step of a recipe is")
    if cls.__name__ != entry.name:
        raise InputError(
            f"{entry.name} of {_package(entry)} is the class {cls.__name__}; expected one name for both: recipes are saved by it"
        )
    return cls


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.module
