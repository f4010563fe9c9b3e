"""The reader: what it allows, and that everything else is an InputError, at once."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

import untwin as ut
from events import calls
from untwin import expression
from untwin.errors import InputError
from untwin.model.constraints import Constraint
from untwin.runs.names import FORMER, NAMES, parse, parse_model
from untwin.solve.projections import ER
from untwin.solve.recipe import length, segments

FORBIDDEN = [
    "ER.__class__",
    "ER().step",
    "ER.__class__.__mro__[1].__subclasses__()",
    "(ER)[0]",
    "ER[0]",
    "lambda: ER",
    "(lambda: ER)()",
    "[ER]",
    "[x for x in (1,)]",
    "(ER for x in (1,))",
    "{1: ER}",
    "{ER}",
    "f'{ER}'",
    "b'x'",
    "1j*ER",
    "...",
    "10**9*ER",
    "10//2*ER",
    "ER - HIO",
    "ER @ HIO",
    "1 << 60",
    "+3*ER",
    "~3*ER",
    "not ER",
    "-ER",
    "-'a'",
    "ER if ER else HIO",
    "ER and HIO",
    "2 < 3",
    "(x := ER)",
    "await ER",
    "yield ER",
    "HIO(*(0.9,))",
    "HIO(**{'beta': 1})",
    "Mean(ER)(ER)",
    "(ER)()()",
    "__import__('os').system('true')",
    "eval('1')",
    "open('x')",
    "import os",
    "x = ER",
    "ER; HIO",
]
MALFORMED = [
    "",
    " ",
    "+",
    "20*",
    "*ER",
    "20*ER+",
    "(ER",
    "ER)",
    "20 ER",
    "ER ER",
    "HIO(beta=)",
    "HIO(beta 0.9)",
    "20×ER",
    "\x00",
    "ER\x00",
    "'",
]
NO_RECIPE = ["3", "'a'", "None", "True", "(ER,)", "()", "3+4", "Draw(0, 1)", "Ramp(2, 1)", "Plateau", "2*3"]
TYPES = ["2.0*ER", "True*ER", "ER*ER", "ER+1", "'a'*ER", "None*ER", "ER+(1,)", "1e400*ER", "-1*ER", "'a'+ER"]
SETTINGS = [
    "HIO(beta='a')",
    "HIO(beta=None)",
    "HIO(beta=True)",
    "HIO(beta=ER)",
    "HIO(0.9, 0.8)",
    "HIO(0.9, beta=0.8)",
    "ER(1)",
    "Mean()",
    "Mean(2*ER)",
    "Mean(3)",
]
OUT_OF_RANGE = ["HIO(beta=0)", "HIO(beta=-0.1)", "RAAR(beta=1.5)", "HIO(beta=1e999)", "DM(beta=0)", "ShrinkWrap(sigma=-1)"]
LARGE = [
    "999999999*ER",
    "100000*(1000*ER)",
    "9" * 5000 + "*ER",
    "9" * 4000 + "*ER",
    "(" * 5000,
    "(" * 5000 + "ER" + ")" * 5000,
    "-" * 5000 + "1",
    "Mean(" * 80 + "ER" + "(" * 200,
    "Mean(" * 2000 + "ER" + ")" * 2000,
    "ER+" * 5000 + "ER",
    "1*" * 9000 + "ER",
    "[" * 5000,
    "ER" * 50_000,
    "ER" + " " * 10**6,
]


@pytest.mark.parametrize("text", [*FORBIDDEN, *MALFORMED, *NO_RECIPE, *TYPES, *SETTINGS, *OUT_OF_RANGE])
def test_everything_else_is_an_input_error(text):
    with pytest.raises(InputError) as error:
        parse(text)
    assert len(str(error.value)) < 2000 and "Traceback" not in str(error.value)


@pytest.mark.parametrize("text", LARGE, ids=lambda t: f"{t[:12]}…{len(t)}")
def test_huge_and_deep_input_is_an_input_error_before_any_work_is_done(text):
    with calls(most=1000), pytest.raises(InputError):  # whatever the length of the text
        parse(text)


@given(st.text(alphabet="ERHIO*+()0123456789.,=-'\"[]{}:\\ \n\tλ", max_size=60) | st.text(max_size=40))
def test_any_text_is_a_recipe_or_an_input_error(text):
    try:
        recipe = parse(text)
    except InputError as error:
        assert str(error)
    else:
        assert parse(repr(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("20*HOI", "HIO"),
        ("20*hio", "HIO"),
        ("RAR(beta=0.9)", "RAAR"),
        ("Shrinkwrap(sigma=2)", "ShrinkWrap"),
        ("20*er", "ER"),
        ("Plateu()", "Plateau"),
        ("HIO(betta=0.9)", "beta"),
        ("ShrinkWrap(sgima=2)", "sigma"),
    ],
)
def test_a_slip_of_the_pen_is_told_what_was_meant(text, hint):
    with pytest.raises(InputError, match=f"did you mean {hint}\\?"):
        parse(text)


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(InputError) as error:
        parse("20*qqqqqq")
    assert all(name in str(error.value) for name in NAMES)


def test_a_setting_out_of_range_names_itself_and_the_range():
    with pytest.raises(InputError, match=r"HIO\(beta=1\.7\): expected a number above 0 and at most 1"):
        parse("HIO(beta=1.7)")


def test_a_syntax_error_says_where():
    with pytest.raises(InputError, match=r"near '\) \+ HIO'"):
        parse("20*ER) + HIO")


@dataclass(frozen=True)
class Thing:
    first: object
    number: float = 1.0
    word: str = "a"
    several: tuple = ()
    made: tuple = field(default_factory=tuple)


values = st.recursive(
    st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)


@given(
    st.builds(Thing, values, st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5), st.lists(values, max_size=3).map(tuple))
)
def test_what_is_written_is_read(thing):
    text = expression.write(thing)
    assert expression.read(text, {"Thing": Thing}) == thing


def test_what_is_written_is_short():
    assert expression.write(Thing(1)) == "Thing(1)"
    assert expression.write(Thing(1, 2.0, several=(3,))) == "Thing(1, number=2.0, several=(3,))"
    assert expression.write(Thing(1, 1)) == "Thing(1, number=1)"  # 1 is not 1.0


def test_the_reader_alone_needs_nothing_heavy():
    code = "import sys, untwin.expression; assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_recipe_that_was_read_can_be_written_counted_and_run_through():
    for text in ("+".join(["ER"] * 300), "Mean(" * 60 + "ER" + ")" * 60, "2*(" * 15 + "ER" + ")" * 15):
        recipe = parse(text)
        assert parse(repr(recipe)) == recipe and sum(len(a) for _, a in segments(recipe)) == length(recipe)


@pytest.mark.parametrize("text", ["'a'*3", "3*(1, 2)", "'r'+'ms'", "(1,)+(2,)"])
def test_only_steps_and_numbers_are_added_and_repeated(text):
    with pytest.raises(InputError):
        expression.read(text, NAMES)


def test_a_product_of_huge_numbers_is_an_input_error():
    with pytest.raises(InputError):
        parse("*".join(["9" * 4000] * 2) + "*ER")


def test_a_comment_swallows_nothing_in_silence():
    try:
        recipe = parse("20*ER  # settle\n + 180*HIO")
    except InputError:
        return
    assert length(recipe) == 200


def test_one_step_is_one_step():
    assert parse("ER") == ER()


def test_a_text_with_former_names_is_read_with_one_warning_and_written_with_the_present_ones():
    old = "Plan(Search(Box + Triangle + Random + 2*ER + Whole + Settle), Reserve(near=0.2), Refine(ER, apart=0.1, explained=1.3))"
    with pytest.warns(DeprecationWarning, match="Whole is called ResetSupport now") as heard:
        plan = parse(old)
    assert len(heard) == 1
    new = repr(plan)
    assert "BoxSupport() + TriangleSupport() + RandomStart() + 2*ER() + ResetSupport() + Rescale()" in new
    assert "max_disagreement=0.2" in new and "min_disagreement=0.1, max_deviance_ratio=1.3" in new
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse(new) == plan
    with pytest.warns(DeprecationWarning, match="Ceiling is called MagnitudeCap now"):
        assert repr(parse_model("Support() & Ceiling()", Constraint)).count("MagnitudeCap()") == 1


def test_former_settings_of_stages_work_as_keywords_too():
    with pytest.warns(DeprecationWarning, match="Reserve.near is called Reserve.max_disagreement now"):
        assert ut.plans.Reserve(near=0.2) == ut.plans.Reserve(max_disagreement=0.2)
    with pytest.warns(DeprecationWarning) as warned:
        assert ut.plans.Refine(ER(), apart=0.1, explained=1.3) == ut.plans.Refine(ER(), 0.1, 1.3)
    assert {str(w.message).partition(" ")[0] for w in warned} == {"Refine.apart", "Refine.explained"}
    with pytest.warns(DeprecationWarning, match="Modulus.hole is called Modulus.damping now"):
        assert ut.physics.Modulus(hole=0.5).damping == 0.5
    with pytest.raises(InputError, match="same setting twice; leave near out"):
        ut.plans.Reserve(near=0.2, max_disagreement=0.2)
    with pytest.raises(TypeError, match="neer"):
        ut.plans.Reserve(neer=0.2)


@pytest.mark.parametrize("name", sorted(ut.FORMER))
def test_the_package_knows_classes_by_their_former_names_too(name):
    with pytest.warns(DeprecationWarning, match=rf"untwin.{name} is untwin\.\w+\.{ut.FORMER[name]} now"):
        assert getattr(ut, name).__name__ == ut.FORMER[name]
    assert name not in dir(ut) and FORMER[name] == ut.FORMER[name]
