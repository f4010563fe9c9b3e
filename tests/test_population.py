"""Starts that have ended: nothing is copied that need not be, and what rests is the same object."""

from __future__ import annotations

import pytest
import torch

import untwin as ut
from samples import pattern, problem, thing, wave
from untwin.model.constraints import MagnitudeCap, PhaseOnly, Sparse, Support
from untwin.runs import population as populations
from untwin.runs.population import Population, aligned, errors, gather, objects


def ended(shape=(12, 10), starts=4):
    p = problem(pattern(thing(shape)))
    x = wave(shape, 0, starts)
    support = torch.rand(starts, *shape, generator=torch.Generator().manual_seed(1)) < 0.4
    return p, Population.of(p, ut.State.of(x, support))


def test_choosing_ordering_and_joining_starts_copies_none():
    p, all_ = ended()
    chosen = gather([all_.rows([2, 0]), all_.rows([3])])
    assert [s.image.data_ptr() for s in chosen.singles] == [all_.singles[i].image.data_ptr() for i in (2, 0, 3)]
    assert chosen.seeds == (2, 0, 3) and len(chosen) == 3 and torch.equal(chosen.deviance, all_.deviance[[2, 0, 3]])
    assert torch.equal(chosen.state.image, all_.state.image[[2, 0, 3]])
    assert chosen.rows([1]).state.image.data_ptr() == all_.singles[0].image.data_ptr(), "of a single one nothing is copied either"


def test_rows_of_a_state_that_follow_one_another_are_views_and_what_is_shared_stays_so():
    s = ut.State.of(wave((6, 5), 0, 4))
    part = s[[1, 2]]
    assert part.x.data_ptr() == s.x[1].data_ptr() and part.image is part.x and part.bounds is part.support
    assert torch.equal(s[[2, 0]].x, s.x[[2, 0]]) and s[[2, 0]].image is not s.x
    spread = s.replace(x=s.x[:1].expand(4, 6, 5))[[1, 2]]
    assert spread.x.is_contiguous() and torch.equal(spread.x[0], s.x[0])


def test_what_rests_is_the_same_object_and_nothing_outside(monkeypatch):
    monkeypatch.setattr(populations, "LARGE_PIXELS", 1)
    p, all_ = ended()
    resting = all_.resting(p)
    assert torch.equal(objects(p, resting), objects(p, all_))
    for s in resting.singles:
        assert s.x is s.image and not bool(s.image[~s.support].any())
    assert resting.resting(p).order(p) == all_.order(p)


@pytest.mark.parametrize(
    ("constraint", "confined"),
    [(Support(), True), (Support() & MagnitudeCap(), True), (PhaseOnly() & Support(), False), (Sparse(3), False)],
    ids=repr,
)
def test_only_where_nothing_outside_the_support_matters_it_may_rest(constraint, confined, monkeypatch):
    monkeypatch.setattr(populations, "LARGE_PIXELS", 1)
    p, all_ = ended()
    p = problem(p.pattern, constraint)
    assert constraint.confined == confined and (all_.resting(p) is not all_) == confined


def test_alignment_one_at_a_time_says_what_it_says_of_all(monkeypatch):
    p, all_ = ended()
    reference = objects(p, all_.rows([1]))[0]
    together = errors(p, all_, reference)
    monkeypatch.setattr(populations, "LARGE", 1)
    each = list(aligned(p, all_, reference))
    assert torch.allclose(torch.cat([a.error for a in each]), together, atol=1e-12) and torch.equal(errors(p, all_, reference), together)
    assert float(together[1]) < 1e-6 and errors(p, all_.rows([]), reference).shape == (0,)


def test_a_finish_one_recipe_at_a_time_ends_with_the_same_bits(monkeypatch):
    """As of a large array: batches of one start, and outcomes that are weighed as they come."""
    p = pattern(thing((24, 20)))
    plan = (
        "Plan(Search(20*HIO + ShrinkWrap, starts=4, families=2), Finish((ShrinkWrap(threshold=Deal((0.1, 0.2))) + 10*RAAR, "
        "ShrinkWrap(threshold=Deal((0.15, 0.3))) + 5*HIO + 5*ER), deal=2, rounds=2))"
    )
    monkeypatch.setattr("untwin.runs.launch.BATCH", 1)

    together = ut.reconstruct(p, plan, seed=4)
    monkeypatch.setattr("untwin.runs.stages.finish.LARGE_PIXELS", 1)
    each = ut.reconstruct(p, plan, seed=4)
    assert torch.equal(each.image, together.image) and each.numbers["score"] == together.numbers["score"]
    assert each.verdict == together.verdict and each.mode_weights == together.mode_weights
