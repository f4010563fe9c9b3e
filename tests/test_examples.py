"""The examples and the code of the pages docs/write-your-own-*.md run as they stand, with warnings as errors."""

from __future__ import annotations

import re
import runpy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGES = [ROOT / "docs" / "write-your-own-algorithm.md", ROOT / "docs" / "write-your-own-physics.md"]


@pytest.fixture
def run(tmp_path, monkeypatch) -> Callable[..., None]:
    """Runs a script as `python script arguments` would, in a folder of its own; in this process, which has imported all of it already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def script(path: Path, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        runpy.run_path(str(path), run_name="__main__")

    return script


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_the_example_runs_and_draws(example, run, tmp_path):
    run(example, "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_is_short_and_in_cells(example):
    text = example.read_text(encoding="utf-8")
    assert text.count("\n") <= 60 and text.count("\n# %%") >= 3


def blocks_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_the_page_runs_from_top_to_bottom(page, run, tmp_path):
    blocks = blocks_of(page)
    assert len(blocks) >= 4
    script = tmp_path / "page.py"
    script.write_text("\n\n".join(blocks), encoding="utf-8")
    run(script)


def test_a_new_physics_is_one_file_of_at_most_60_lines():
    """The newcomer's measure: the first block of the page is the whole of it, imports included."""
    physics = blocks_of(PAGES[1])[0]
    assert "class PartialCoherence(ut.physics.Detection)" in physics and physics.count("\n") <= 60
