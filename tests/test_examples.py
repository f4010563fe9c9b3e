"""The examples and the code of docs/write-your-own-algorithm.md run as they stand, with warnings as errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import untwin

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGE = ROOT / "docs" / "write-your-own-algorithm.md"


def run(arguments: list[str], folder: Path) -> str:
    """What a Python with the package and the tests on its path prints, in a folder of its own."""
    paths = [Path(untwin.__file__).parents[1], ROOT / "tests"]
    own = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    program = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(program, cwd=folder, env={**os.environ, **own}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_the_example_runs_and_draws(example, tmp_path):
    run([str(example), "figure.png"], tmp_path)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_is_short_and_in_cells(example):
    text = example.read_text(encoding="utf-8")
    assert text.count("\n") < 60 and text.count("\n# %%") >= 3


def test_the_page_on_algorithms_runs_from_top_to_bottom(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    script = tmp_path / "page.py"
    script.write_text("\n\n".join(blocks), encoding="utf-8")
    run([str(script)], tmp_path)
