"""Damaged files of every kind keep the law (fuzz.py), and so does every case that once broke it."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import pytest

from fuzz import KINDS, jobs_of, prepared, run

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="the files are tried in forks of this process"
)
SEED, EACH = 11, 25
FOUND = sorted(p for p in (Path(__file__).parent / "regressions").iterdir() if p.suffix != ".md")


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    prepared(list(KINDS), folder)
    return folder


@pytest.mark.filterwarnings("ignore::untwin.errors.GuessWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_damaged_is_accepted(good, kind, monkeypatch):
    """Or the law would be kept by refusing everything."""
    path = good / kind / KINDS[kind].name
    monkeypatch.chdir(path.parent)
    assert list(KINDS[kind].readers[0](path))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_or_finite(good, kind):
    broken = {f"--seed {SEED} --only {kind} --case {k}": found for k, found in run(jobs_of(SEED, [kind], range(EACH), good))}
    assert not broken, "python tests/fuzz.py with these arguments runs one again"


@pytest.mark.parametrize("path", FOUND, ids=lambda p: p.name)
def test_what_once_broke_the_law_keeps_it(good, tmp_path, path):
    """regressions/KIND-what-was-wrong.ending"""
    kind = path.name.split("-")[0]

    def placed(folder: Path) -> Path:
        shutil.copytree(good / kind, folder, dirs_exist_ok=True)
        return Path(shutil.copy(path, folder / KINDS[kind].name))

    assert not dict(run([(kind, placed)]))
