"""The public names: few at the top, the rest in namespaces, former places with a warning, and classes of other packages."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

import untwin as ut
from untwin.errors import InputError
from untwin.runs import plugins
from untwin.runs.names import MODEL, NAMES, STAGES, parse, parse_model, parse_rule
from untwin.solve.projections import ER, Projection

SPACES = ("algorithms", "rules", "priors", "physics", "constraints", "losses", "plans", "metrics", "results")


def test_about_thirty_names_stand_at_the_top():
    functions_and_classes = [name for name in ut.__all__ if not isinstance(getattr(ut, name), ModuleType | str)]
    assert 25 <= len(functions_and_classes) <= 35
    assert all(getattr(ut, name).__doc__ for name in functions_and_classes)
    assert {name for name in ut.__all__ if isinstance(getattr(ut, name), ModuleType)} == {*SPACES, "bragg", "simulate"}


def test_no_name_is_public_in_two_places():
    places: dict[str, list[str]] = {}
    for space in ("", *SPACES, "bragg"):
        for name in importlib.import_module(f"untwin.{space}".rstrip(".")).__all__:
            places.setdefault(name, []).append(space)
    assert not {name: spaces for name, spaces in places.items() if len(spaces) > 1}


def test_every_name_of_a_recipe_or_a_model_is_public():
    public = {name for space in SPACES for name in importlib.import_module(f"untwin.{space}").__all__}
    assert {*NAMES, *MODEL} <= public
    assert {c.__name__ for c in STAGES} == {*ut.plans.__all__} - {"Blind"}


@pytest.mark.parametrize(("name", "space"), [("HIO", "algorithms"), ("Crystals", "simulate"), ("prtf", "metrics"), ("FarField", "physics")])
def test_the_former_place_of_a_name_warns(name, space):
    with pytest.warns(DeprecationWarning, match=rf"untwin\.{name} is untwin\.{space}\.{name} now"):
        assert getattr(ut, name) is getattr(getattr(ut, space), name)


def test_the_top_level_imports_nothing_heavy():
    code = "import sys, untwin; assert not {'torch', 'numpy', 'matplotlib', 'h5py'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@dataclass(frozen=True)
class Halved(Projection):
    """A step that no package has."""

    def coefficients(self):
        return ER().coefficients()


@dataclass(frozen=True)
class Never(ut.rules.Plateau):
    """A rule that no package has."""


@dataclass(frozen=True)
class Cylinders(ut.physics.Ideal):
    """A detection that no package has."""


class Plain:
    pass


@pytest.fixture
def offered(monkeypatch):
    """Entry points, as if packages were installed that have them."""

    def offer(**entries: str | list[str]):
        points = {
            n: [EntryPoint(n, v, plugins.GROUP) for v in ([value] if isinstance(value, str) else value)] for n, value in entries.items()
        }
        monkeypatch.setattr(plugins, "_offered", lambda: points)

    return offer


def test_a_recipe_names_a_class_of_another_package(offered):
    offered(Halved=f"{__name__}:Halved", Never=f"{__name__}:Never", Cylinders=f"{__name__}:Cylinders")
    recipe = parse("3*(Halved + ShrinkWrap) + ER")
    assert recipe == 3 * (Halved() + ut.algorithms.ShrinkWrap()) + ER() and parse(repr(recipe)) == recipe
    assert parse_rule("Never()") == Never()
    assert parse_model("Physics(FarField(), Cylinders())", ut.physics.Physics).detection == Cylinders()


def test_it_is_imported_only_when_it_is_named(offered):
    offered(Halved="a_package_that_is_not_installed:Halved")
    assert parse("20*ER") == 20 * ER()
    with pytest.raises(InputError, match=r"Halved of a_package_that_is_not_installed .* cannot be imported: ModuleNotFoundError"):
        parse("20*Halved")
    with pytest.raises(InputError, match="did you mean Halved"):
        parse("20*Halvd")


def test_a_name_of_untwin_stays_untwins(offered):
    offered(ER=f"{__name__}:Halved")
    assert parse("20*ER") == 20 * ER()


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ({"Plain": f"{__name__}:Plain"}, "expected a frozen dataclass"),
        ({"Halfed": f"{__name__}:Halved"}, "is the class Halved; expected one name for both"),
        ({"Halved": [f"{__name__}:Halved", "other_package:Halved"]}, "offered by other_package, test_public; expected one"),
    ],
)
def test_what_cannot_stand_in_a_recipe_is_refused(offered, entries, match):
    offered(**entries)
    with pytest.raises(InputError, match=match):
        parse(f"20*{next(iter(entries))}")
