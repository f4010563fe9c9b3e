"""What is published: one version everywhere, and a recipe that asks for the same packages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import untwin

ROOT = Path(__file__).parents[1]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_there_is_one_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert project()["version"] == untwin.__version__ == re.search(r"^version: (\S+)$", citation, re.MULTILINE)[1]  # type: ignore[index]


def test_the_recipe_asks_for_what_the_package_asks_for():
    recipe = ROOT / "packaging" / "conda" / "recipe.yaml"
    if not recipe.exists():
        pytest.skip("packaging/ is no part of the source archive")
    text = recipe.read_text(encoding="utf-8")
    assert f"\n  version: {untwin.__version__}\n" in text
    names = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    for requirement in project()["dependencies"]:
        name, _, least = requirement.partition(">=")
        assert f"    - {names.get(name, name)} >={least}\n" in text, requirement
    for extra in ("fast", "detector", "cluster", "live"):
        for requirement in project()["optional-dependencies"][extra]:
            name, _, least = requirement.partition(">=")
            assert f"    - {name} >={least}\n" in text, requirement


def test_the_package_says_that_it_is_typed():
    assert (Path(untwin.__file__).parent / "py.typed").exists()
    assert "Typing :: Typed" in project()["classifiers"]
