"""Recipes: an expression, its text, and the text again."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from members import OTHERS, PROJECTIONS
from untwin.errors import InputError
from untwin.runs.names import NAMES, STAGES, parse
from untwin.runs.stages.average import Average
from untwin.runs.stages.contain import Contain
from untwin.runs.stages.finish import Finish
from untwin.runs.stages.guide import Guide
from untwin.runs.stages.plan import Plan
from untwin.runs.stages.refine import Refine
from untwin.runs.stages.reserve import Reserve
from untwin.runs.stages.search import Search
from untwin.solve.projections import DM, ER, HIO, RAAR
from untwin.solve.recipe import Algorithm, Deal, Draw, Ramp, Repeat, Rule, Then, Until, length, segments, steps
from untwin.solve.shrinkwrap import AreaWrap, ShrinkWrap
from untwin.solve.stopping import Plateau
from untwin.solve.wrap import Capped, Damped, Mean, Proximal

# every member of the family, with settings drawn at random


def number(low: float, high: float):
    return st.floats(low, high, exclude_min=True) | st.sampled_from([low / 2 + high / 2])


def setting(low: float, high: float):
    plain = number(low, high)
    pair = st.tuples(plain, plain).map(sorted)
    draw = pair.map(lambda p: Draw(*p))
    ramp = st.builds(Ramp, plain | draw, plain | draw, st.booleans())
    return plain | draw | ramp | st.lists(plain, min_size=1, max_size=4).map(lambda v: Deal(tuple(v)))


BETAS = number(1e-3, 1)
PLAIN = st.one_of(
    *(st.builds(c) | st.builds(c, beta=BETAS) for c in PROJECTIONS if any(f.name == "beta" for f in dataclasses.fields(c))),
    st.builds(DM, beta=number(-2, -0.01)),
    st.sampled_from([c() for c in (*PROJECTIONS, *OTHERS) if c not in (Capped, Proximal, Damped, Mean)]),
)
WRAPPED = st.recursive(
    PLAIN,
    lambda inner: (
        st.builds(Capped, inner)
        | st.builds(Mean, inner)
        | st.builds(Proximal, inner, number(1e-3, 100))
        | st.builds(Damped, inner, setting(1e-3, 1))
    ),
    max_leaves=3,
)
WRAPS = st.builds(
    ShrinkWrap,
    threshold=setting(1e-3, 0.999),
    sigma=setting(1e-3, 100),
    level=st.sampled_from(["rms", "weighted", "max"]),
    smallest=st.floats(0, 0.4),
    largest=st.floats(0.5, 9),
    islands=st.floats(0, 1),
) | st.builds(AreaWrap, area=setting(1e-3, 1), sigma=setting(1e-3, 100))
LEAVES = WRAPPED | WRAPS
RULES = st.builds(Plateau, patience=st.integers(1, 10**6), tolerance=st.floats(0, 1))
RECIPES = st.recursive(
    LEAVES,
    lambda inner: (
        st.tuples(st.integers(0, 30), inner).map(lambda p: p[0] * p[1])
        | st.tuples(inner, inner).map(lambda p: p[0] + p[1])
        | st.builds(Until, RULES, LEAVES | LEAVES.map(lambda a: 7 * a))
    ),
    max_leaves=8,
)
SEVERAL = st.lists(RECIPES, max_size=2).map(tuple)
ONE_STAGE = (
    st.builds(Guide, SEVERAL, generations=st.integers(0, 3)),
    st.builds(Reserve, st.integers(0, 3), max_disagreement=st.floats(0, 0.9)),
    st.builds(Finish, SEVERAL, deal=st.integers(1, 9), rounds=st.integers(0, 4)),
    st.builds(Contain, RECIPES, max_deviance_ratio=st.floats(0, 9)),
    st.builds(Average, RECIPES),
    st.builds(Refine, RECIPES, min_disagreement=st.floats(0, 0.9), max_deviance_ratio=st.floats(0, 9)),
)
PLANS = st.tuples(
    st.builds(Search, RECIPES, starts=st.integers(3, 100), families=st.integers(1, 3)),
    *(st.none() | one for one in ONE_STAGE),
).map(lambda stages: Plan(*(s for s in stages if s is not None)))


FITTED = (  # one of each, beside those that are drawn
    "Fit(DoubleDIP(), Adam(), loss=Amplitude(), regularizer=TV())",
    "Fit(Polar(Untrained(Skip()), Untrained(DeepDecoder())), LBFGS(), loss=Poisson(), regularizer=IsotropicTV())",
    "Fit(Cartesian(Projector(ConvDecoder()), Implicit(Siren())), Adam(), loss=Intensity(), regularizer=L1())",
    "Fit(Polar(Uniform(), Grid()), Adam(), loss=Squared(), regularizer=GradientRatio())",
    "Fit(Polar(Uniform(), Zernike(modes=10), vector=False), LBFGS()) + Fit(RandomField(order=2.0))",
    "Fit(Grid(), constraints=(AtMost(Magnitude(), 2.0), AtLeast(Volume(level=0.1), 0.1), Equal(Total(), 5.0)))",
    "Fit(Grid(), Adam(), loss=Absolute())",
    "Fit(Grid(), Adam(), loss=Huber()) + Fit(Generator('digits.safetensors'))",
    "Fit(Grid(), Adam(), loss=Gamma())",
    "Fit(Grid(), Adam(), loss=SSIM(), kernel=Softmax(Perceptron()))",
    "Smooth(weight=0.1) + 8*HQS(Denoiser(), noise=0.05) + 3*PnP(level=0.1) + PnPADMM() + RED() + GradientStep()",
    "Smooth(order=2) + 9*PrimalDual(weight=0.05)",
)
RULED = ("WMV()", "EMV()", "HeldOut()", "Thinned()", "SelfValidation()", "Plateau()", "Discrepancy(sigma=0.1)", "Solved(enough=2)")


def test_every_name_is_in_some_test_below():
    named = set(re.findall(r"(\w+)\(", " ".join((*FITTED, *RULED))))
    drawn = {c.__name__ for c in (*PROJECTIONS, *OTHERS, Deal, Draw, Ramp, Until, *STAGES)}
    assert set(NAMES) == drawn | named and all(NAMES[name].__name__ == name for name in NAMES)
    assert all(issubclass(c, Algorithm) for c in (*PROJECTIONS, *OTHERS)) and issubclass(Plateau, Rule)


@pytest.mark.parametrize("text", [*FITTED, *(f"Until({rule}, 3*{FITTED[5]})" for rule in RULED)])
def test_a_fit_and_its_rule_are_their_text(text):
    recipe = parse(text)
    assert parse(repr(recipe)) == recipe and repr(parse(repr(recipe))) == repr(recipe)


@given(RECIPES)
def test_a_recipe_is_its_text(recipe):
    assert parse(repr(recipe)) == recipe
    assert repr(parse(repr(recipe))) == repr(recipe)


@given(PLANS)
def test_a_plan_is_its_text(plan):
    assert parse(repr(plan)) == plan


@given(RECIPES)
def test_a_recipe_can_be_counted_and_is_as_long_as_its_segments(recipe):
    flat = [a for _, part in segments(recipe) for a in part]
    assert flat == list(steps(recipe)) and len(flat) == length(recipe)
    assert all(isinstance(a, Algorithm) for a in flat) and hash(recipe) == hash(parse(repr(recipe)))


@given(RECIPES, RECIPES, RECIPES)
def test_then_does_not_mind_brackets(a, b, c):
    assert (a + b) + c == a + (b + c)


@pytest.mark.parametrize("cls", [*PROJECTIONS, *OTHERS], ids=lambda c: c.__name__)
def test_settings_are_frozen_and_documented(cls):
    a = cls(ER()) if cls in (Capped, Proximal, Damped, Mean) else cls()
    for f in dataclasses.fields(a):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(a, f.name, 1)
        assert f.name == "algorithm" or re.search(rf"\b{f.name}\b[a-z, ]*:", cls.__doc__), f"{cls.__name__} does not say what {f.name} is"


# the text


def test_the_strings_of_cohere_are_read_unchanged():
    r = parse("3*(20*ER+180*HIO)+20*ER")
    assert length(r) == 620 and r == 3 * (20 * ER() + 180 * HIO()) + 20 * ER()
    flat = list(steps(r))
    assert flat[:20] == [ER()] * 20 and flat[20:200] == [HIO()] * 180 and flat[200] == ER() and flat[-20:] == [ER()] * 20


def test_repetitions_nest_and_stand_on_either_side():
    assert length(parse("2*(3*(20*ER))")) == 120
    assert parse("2*(3*(20*ER))") == 2 * (3 * (20 * ER()))
    assert parse("ER*20") == parse("20*ER") == Repeat(20, ER())
    assert parse("2*3*ER") == 6 * ER() and length(parse("0*ER + ER")) == 1
    assert parse("ER") == parse(" ER() \n") == ER()


def test_a_line_break_is_a_space():
    assert parse("20*ER +\n  180*HIO(beta=0.8)\n") == 20 * ER() + 180 * HIO(beta=0.8)


def test_settings_are_given_by_name_or_by_place_and_may_be_settings_themselves():
    assert parse("RAAR(0.5)") == parse("RAAR(beta=0.5)") == RAAR(beta=0.5)
    assert parse("DM(beta=-0.8)") == DM(beta=-0.8)
    got = parse("ShrinkWrap(threshold=Draw(0.12, 0.32), sigma=Ramp(2, 0.5), level='max')")
    assert got == ShrinkWrap(threshold=Draw(0.12, 0.32), sigma=Ramp(2, 0.5), level="max")
    assert parse("Until(Plateau(patience=9), 50*RAAR + ER)") == Until(Plateau(patience=9), 50 * RAAR() + ER())
    assert parse("Mean(Proximal(RAAR))") == Mean(Proximal(RAAR()))


def test_the_text_leaves_defaults_out():
    assert repr(20 * ER() + 3 * (HIO(beta=0.8) + ShrinkWrap(sigma=2.0))) == "20*ER() + 3*(HIO(beta=0.8) + ShrinkWrap(sigma=2.0))"
    assert repr(2 * (3 * RAAR())) == "2*(3*RAAR())"
    assert repr(Until(Plateau(), 2 * ER())) == "Until(Plateau(), 2*ER())"


def test_a_rule_has_a_segment_of_its_own():
    parts = list(segments(parse("2*ER + 2*(Until(Plateau, 3*HIO) + ER) + HIO")))
    assert [(type(r), len(a)) for r, a in parts] == [
        (type(None), 2),
        (Plateau, 3),
        (type(None), 1),
        (Plateau, 3),
        (type(None), 2),
    ]


def test_only_recipes_are_added_and_only_whole_numbers_multiply():
    for wrong in (lambda: ER() + 1, lambda: 1 + ER(), lambda: 2.0 * ER(), lambda: True * ER(), lambda: ER() * ER()):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(InputError, match="0 or more"):
        (-1) * ER()
    assert isinstance(ER() + HIO(), Then)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Until(ER(), 5 * ER()),
        lambda: Until(Plateau(), 5),
        lambda: Plateau(patience=0),
        lambda: Plateau(patience=2.5),
        lambda: Plateau(tolerance=-1),
        lambda: Plan(),
        lambda: Plan(3),
        lambda: Plan(Guide((ER(),))),
        lambda: Plan(Search(ER()), Search(ER())),
        lambda: Plan(Search(ER()), Finish((ER(),)), Guide((ER(),))),
        lambda: Plan(Search(ER()), Refine(ER()), Refine(ER())),
        lambda: Search(3),
        lambda: Search(ER(), starts=0),
        lambda: Search(ER(), starts=2, families=3),
        lambda: Guide((ER(),), generations=True),
        lambda: Guide((3,)),
        lambda: Finish((ER(),), deal=0),
        lambda: Reserve(2, max_disagreement=1),
        lambda: Contain(3),
        lambda: Average(3),
        lambda: Contain(ER(), max_deviance_ratio=-1),
        lambda: Plan(Search(ER()), Contain(ER()), Guide((ER(),))),
        lambda: Refine(ER(), min_disagreement=-0.1),
        lambda: Plan(first=3),
        lambda: Plan(ER(), starts=0),
        lambda: Plan(ER(), first=ER()),
        lambda: Plan(ER(), children=(3,)),
        lambda: Plan(ER(), wrong=3),
    ],
)
def test_wrong_rules_and_plans_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_a_plan_in_the_words_of_earlier_versions_is_read_and_said_to_be_old():
    """They stand in the run.toml of older results."""
    old = (
        "Plan(20*HIO, starts=6, families=2, reserve=1, children=(5*RAAR,), generations=2, finish=(5*ER,), deal=2, rounds=3, refine=ER, "
        "apart=0.02, explained=1.3)"
    )
    with pytest.warns(DeprecationWarning, match="plan of stages"):
        plan = parse(old)
    assert plan == parse(
        "Plan(Search(20*HIO, starts=6, families=2), Guide((5*RAAR,), generations=2), Reserve(1), Finish((5*ER,), deal=2, rounds=3), "
        "Refine(ER, min_disagreement=0.02, max_deviance_ratio=1.3))"
    )
    with pytest.warns(DeprecationWarning, match="plan of stages"):
        assert Plan(20 * HIO()) == Plan(Search(20 * HIO()))
    with pytest.warns(DeprecationWarning, match="plan of stages"):
        assert Plan(ER(), starts=4, generations=2, finish=(ER(),)) == Plan(Search(ER(), starts=4)), "nothing was to be done for these"


def test_a_plan_changes_by_stages():
    plan = Plan(Search(ER(), starts=4, families=2), Finish((ER(),)))
    assert plan.with_stage(Guide((ER(),))).stages == (plan.search, Guide((ER(),)), Finish((ER(),)))
    assert plan.with_stage(Finish((HIO(),))).stages == (plan.search, Finish((HIO(),))) and plan.without(Finish).stages == (plan.search,)
    assert plan.with_starts(1).search == Search(ER(), starts=1) and plan.stage(Refine) is None and plan.stage(Finish) == Finish((ER(),))


def test_reading_a_recipe_needs_no_torch():
    code = (
        "import sys, untwin\n"
        "from untwin.runs.names import parse\nfrom untwin.solve.recipe import length\n"
        "r = parse('3*(20*ER+180*HIO)+20*ER + Until(Plateau, 5*Mean(Proximal(RAAR)) + ShrinkWrap(sigma=Ramp(2, 0.5)))')\n"
        "length(r), repr(r)\n"
        "heavy = {'torch', 'scipy', 'matplotlib', 'h5py'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# what is wrong with it today


def test_a_rule_inside_a_rule_is_an_error():
    with pytest.raises(InputError):
        list(segments(Until(Plateau(), 2 * ER() + Until(Plateau(), 5 * HIO()))))


def test_endless_repetitions_of_nothing_are_refused():
    with pytest.raises(InputError):
        parse("999999999999999*(0*ER)")


def test_the_limit_holds_for_sums_too():
    with pytest.raises(InputError):
        parse("+".join(["9999999*ER"] * 50))


def test_a_numpy_number_is_a_number():
    assert parse(repr(HIO(beta=np.float64(0.8)))) == HIO(beta=0.8)
