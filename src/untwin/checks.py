"""What a setting must be: a whole number, a number, one of a few names. Each error says what came and what was expected.

`require_int(self, "starts", 1)` looks at a field of `self`; the functions for an argument take its value and give it back.
"""

from __future__ import annotations

import math
import sys
from numbers import Integral, Real
from typing import Any

from untwin.errors import InputError

SEEDS = 2**62  # seeds are below
LARGEST = sys.float_info.max


def is_int(value: object) -> bool:
    """A whole number, Python's own: not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """A finite number, Python's own: not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def require_int(owner: Any, name: str, low: int, high: int | None = None, multiple: int = 1) -> None:
    """Raise InputError unless the field is a whole number in [low, high], and a multiple of `multiple`."""
    value = getattr(owner, name)
    if not (is_int(value) and low <= value and (high is None or value <= high) and value % multiple == 0):
        raise InputError(f"{field(owner, name)}: expected {_whole_numbers(low, high, multiple)}")


def require_number(owner: Any, name: str, low: float, high: float = math.inf, *, above: bool = False, below: bool = False) -> None:
    """Raise InputError unless the field is a number in [low, high]; above, below: the limit itself does not belong to it."""
    if not within(getattr(owner, name), low, high, above, below):
        raise InputError(f"{field(owner, name)}: expected {numbers(low, high, above, below)}")


def require_one_of(owner: Any, name: str, *choices: str) -> None:
    """Raise InputError unless the field is one of these."""
    if getattr(owner, name) not in choices:
        raise InputError(f"{field(owner, name)}: expected one of {', '.join(choices)}")


def int_argument(name: str, value: Any, low: int, high: int | None = None) -> int:
    """The value of an argument as an int (NumPy's whole numbers, too). Raises InputError unless it is a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) or (high is not None and int(value) > high):
        raise InputError(f"{name}={value!r}: expected {_whole_numbers(low, high)}")
    return int(value)


def number_argument(name: str, value: Any, low: float, high: float = math.inf, *, above: bool = False, below: bool = False) -> float:
    """The value of an argument as a float. Raises InputError unless it is a number in [low, high], with `above` and `below` as before."""
    if (
        isinstance(value, bool)
        or not isinstance(value, Real)
        or not within(value if is_int(value) else float(value), low, high, above, below)
    ):
        raise InputError(f"{name}={value!r}: expected {numbers(low, high, above, below)}")
    return float(value)


def seed_argument(seed: Any) -> int:
    """The seed as an int. Raises InputError unless it is a whole number in [0, SEEDS)."""
    return int_argument("seed", seed, 0, SEEDS - 1)


def field(owner: Any, name: str) -> str:
    """How an error names a field and what came."""
    return f"{type(owner).__name__}({name}={getattr(owner, name)!r})"


def within(value: Any, low: float, high: float, above: bool = False, below: bool = False) -> bool:
    """A number between the limits; above, below: not the limit itself."""
    return is_number(value) and (low < value if above else low <= value) and (value < high if below else value <= high)


def numbers(low: float, high: float, above: bool = False, below: bool = False) -> str:
    """What was expected, in words."""
    if high == math.inf:
        return f"a number above {low:g}" if above else f"a number of at least {low:g}"
    if not above and not below:
        return f"a number from {low:g} to {high:g}"
    return f"a number {'above' if above else 'from'} {low:g} and {'below' if below else 'at most'} {high:g}"


def _whole_numbers(low: int, high: int | None, multiple: int = 1) -> str:
    kind = f"a multiple of {multiple}" if multiple > 1 else "a whole number"
    if high is None:
        return f"{kind}, {low} or more"
    bits = high.bit_length()
    if high == 2**bits - 1 and bits > 30:
        return f"{kind}, {low} or more and below 2^{bits}"
    return f"{kind} from {low} to {high:,}"
