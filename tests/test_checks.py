"""What a setting must be: what passes, what does not, and what the error says."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from untwin.checks import int_argument, number_argument, require_int, require_number, require_one_of, seed_argument
from untwin.errors import InputError


def setting(value) -> SimpleNamespace:
    return SimpleNamespace(n=value)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, 9, -3, 10**400, np.int64(3)])
def test_a_setting_that_is_no_whole_number_in_its_limits_is_refused(value):
    with pytest.raises(InputError, match=r"SimpleNamespace\(n=.*\): expected a whole number from 1 to 8"):
        require_int(setting(value), "n", 1, 8)


@pytest.mark.parametrize("value", [1, 5, 8])
def test_a_whole_number_within_its_limits_passes(value):
    require_int(setting(value), "n", 1, 8)
    require_int(setting(value), "n", 1)
    assert int_argument("n", np.int32(value), 1, 8) == value and type(int_argument("n", np.int32(value), 1)) is int


@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, -math.inf, 1j, -0.1, 2.5, 10**400])
def test_a_setting_that_is_no_number_in_its_limits_is_refused(value):
    with pytest.raises(InputError, match=r"SimpleNamespace\(n=.*\): expected a number from 0 to 2"):
        require_number(setting(value), "n", 0, 2)
    with pytest.raises(InputError, match="n=.*: expected a number from 0 to 2"):
        number_argument("n", value, 0, 2)


def test_a_limit_can_be_left_out():
    for value in (0, 1, 0.5, 1.0):
        require_number(setting(value), "n", 0, 1)
        assert number_argument("n", np.float32(value), 0, 1) == value
    for limits, value, text in (
        ({"above": True}, 0, "a number above 0 and at most 1"),
        ({"below": True}, 1.0, "a number from 0 and below 1"),
        ({"above": True, "below": True}, 0.0, "a number above 0 and below 1"),
    ):
        with pytest.raises(InputError, match=f"expected {text}"):
            require_number(setting(value), "n", 0, 1, **limits)
        require_number(setting(0.5), "n", 0, 1, **limits)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (lambda: require_int(setting(0), "n", 1), "expected a whole number, 1 or more"),
        (lambda: require_int(setting(33), "n", 32, 512, multiple=32), "expected a multiple of 32 from 32 to 512"),
        (lambda: require_number(setting(-1), "n", 0), "expected a number of at least 0"),
        (lambda: require_number(setting(0), "n", 0, above=True), "expected a number above 0"),
        (lambda: require_one_of(setting("x"), "n", "a", "b"), "SimpleNamespace(n='x'): expected one of a, b"),
        (lambda: seed_argument(-1), "seed=-1: expected a whole number, 0 or more and below 2^62"),
        (lambda: seed_argument(2**62), "0 or more and below 2^62"),
        (lambda: seed_argument(True), "seed=True: expected a whole number"),
        (lambda: int_argument("n", 1.0, 1), "n=1.0: expected a whole number, 1 or more"),
    ],
)
def test_an_error_says_what_came_and_what_was_expected(check, text):
    with pytest.raises(InputError) as error:
        check()
    assert text in str(error.value)


def test_a_seed_may_be_of_numpy():
    assert seed_argument(np.uint32(7)) == 7 and type(seed_argument(np.uint32(7))) is int and seed_argument(2**62 - 1) == 2**62 - 1
