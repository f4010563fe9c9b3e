"""The examples and the code of docs/write-your-own-algorithm.md run as they stand, with warnings as errors."""

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
PAGE = ROOT / "docs" / "write-your-own-algorithm.md"


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
    assert text.count("\n") < 60 and text.count("\n# %%") >= 3


def test_the_page_on_algorithms_runs_from_top_to_bottom(run, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    script = tmp_path / "page.py"
    script.write_text("\n\n".join(blocks), encoding="utf-8")
    run(script)
