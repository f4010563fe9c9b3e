"""Seeds: one for each purpose, none in common."""

from __future__ import annotations

import ast
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

import untwin as ut
from samples import pattern, thing
from untwin.random import derive
from untwin.runs.population import start

SEEDS = st.integers(0, 2**62 - 1)
PURPOSE = st.lists(st.one_of(st.integers(0, 2**40), st.text(max_size=8)), max_size=3)


@given(SEEDS, PURPOSE, SEEDS, PURPOSE)
def test_a_seed_is_a_function_of_all_that_is_said_and_of_nothing_else(a, p, b, q):
    assert derive(a, *p) == derive(a, *p) and 0 <= derive(a, *p) < 2**63
    assert ((a, p) == (b, q)) == (derive(a, *p) == derive(b, *q))
    torch.Generator().manual_seed(derive(a, *p))


def test_words_and_numbers_that_read_alike_are_different_purposes():
    assert len({derive(1), derive(1, 2), derive(1, "2"), derive(12), derive(1, 1, 2), derive(1, 12), derive(1, "start", 2)}) == 7


def test_the_starts_of_two_seeds_have_nothing_in_common_nor_those_that_stand_in():
    of = [{start(seed, number, 0, attempt).seed for number in range(40) for attempt in range(4)} for seed in (0, 1, 2, 100)]
    assert all(len(s) == 160 for s in of) and len(set().union(*of)) == 4 * 160
    low = {s & 0xFFFFFFFF for s in set().union(*of)}  # torch's generator begins with the lower half
    assert len(low) == 4 * 160


def test_two_runs_with_neighbouring_seeds_share_no_start():
    p = pattern(thing((24, 24)), photons=1e5)
    plan = ut.parse("Plan(Search(2*ER, starts=4, families=2), Guide((ER,), generations=1), Reserve(2))")
    a, b = (ut.reconstruct(p, plan, seed=seed, workers=1) for seed in (0, 1))
    assert len(a.starts) == 8 and not {s.seed for s in a.starts} & {s.seed for s in b.starts}
    assert [s.number for s in a.starts] == list(range(8))
    assert not {s.r_factor for s in a.starts} & {s.r_factor for s in b.starts}


def test_no_other_stream_is_made_from_arithmetic_on_a_seed():
    """solve/ and runs/ take their seeds from derive, and from nowhere else."""
    root = Path(ut.__file__).parent
    for path in [*root.glob("solve/*.py"), *root.glob("runs/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".")[-1] in ("default_rng", "SeedSequence"):
                assert node.args and ast.unparse(node.args[0]).startswith("derive("), f"{path.name}: {ast.unparse(node)}"
