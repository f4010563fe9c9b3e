"""Text <-> object, for recipes, rules and plans: Python's own syntax tree, read through a white list.

Allowed: names, calls with arguments that are themselves allowed, numbers, strings, True, False, None, tuples, lists (read as tuples), +, *
and &, a leading minus.
A bare name stands for the object with its defaults, so `20*ER + 180*HIO` needs no brackets. Nothing is ever evaluated by Python.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import inspect
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from untwin.errors import FormerNameWarning, InputError

_OPERATORS = {ast.Add: operator.add, ast.Mult: operator.mul, ast.BitAnd: operator.and_}
Kind = TypeVar("Kind")
LIMIT = 20_000  # characters; a recipe is a line


def read(text: str, names: Mapping[str, type], former: Mapping[str, str] | None = None) -> Any:
    """The object that `text` describes, made of the classes in `names`. Raises InputError with the place of the fault.

    former: names of earlier releases and what they are called now, {"Old": "New", "Class.old": "new"} (a setting of a class); a text that
        has some is read, with one DeprecationWarning.
    """
    if len(text) > LIMIT:
        raise InputError(f"this recipe has {len(text)} characters, {LIMIT} at most; write repetitions as 10*(...)")
    if "#" in text:
        raise InputError("a recipe holds no comments; leave out what follows the #")
    try:
        line = text.strip().replace("\n", " ")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, on such as 2in
            tree = ast.parse(line, mode="eval").body
        _rename(tree, former or {})
        return _value(tree, line, names)
    except SyntaxError as error:
        at = (error.offset or 1) - 1
        raise InputError(
            f'cannot read the recipe {text!r}: not an expression near {text[at : at + 12]!r}; write it as "20*ER + 180*HIO(beta=0.9)"'
        ) from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read the recipe {text!r}: {error}; write it in plain letters, on one line") from None
    except (RecursionError, MemoryError):
        raise InputError("this recipe is nested too deeply; write repetitions as 10*(...)") from None


def _rename(tree: ast.expr, former: Mapping[str, str]) -> None:
    """Put present names for the former ones of a syntax tree, in place."""
    old = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in former:
            old[node.id] = former[node.id]
            node.id = former[node.id]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for k in node.keywords:
                if (setting := f"{node.func.id}.{k.arg}") in former:
                    old[setting] = former[setting]
                    k.arg = former[setting]
    if old:
        changes = ", ".join(f"{before} is called {now} now" for before, now in old.items())
        warnings.warn(f"names of an earlier release: {changes}", FormerNameWarning, stacklevel=4)


def _value(node: ast.expr, text: str, names: Mapping[str, type]) -> Any:
    source = text.encode()[node.col_offset : node.end_col_offset].decode()  # one line
    match node:
        case ast.Constant(value=int() as number) if abs(number) > 10**15:
            raise InputError(f"the number {source[:12]}... is too large for a recipe")
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return node.value
        case ast.Tuple(elts=elements) | ast.List(elts=elements):  # Fit(constraints=[...]), as Python has it
            return tuple(_value(e, text, names) for e in elements)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _value(operand, text, names)
            if isinstance(value, int | float):
                return -value
            raise InputError(f"{source!r}: only a number can have a minus")
        case ast.Name(id=name):
            return _call(name, (), {}, source, names)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            if any(k.arg is None for k in keywords) or any(isinstance(a, ast.Starred) for a in args):
                raise InputError(f"{source!r}: write the arguments out")
            positional = tuple(_value(a, text, names) for a in args)
            settings = {str(k.arg): _value(k.value, text, names) for k in keywords}
            return _call(name, positional, settings, source, names)
        case ast.BinOp(left=left, op=ast.Add() | ast.Mult() | ast.BitAnd() as op, right=right):
            a, b = _value(left, text, names), _value(right, text, names)
            try:
                if not (_is_count(a) and _is_count(b)) and not any(dataclasses.is_dataclass(v) for v in (a, b)):
                    raise TypeError
                return _OPERATORS[type(op)](a, b)
            except (TypeError, OverflowError):
                raise InputError(
                    f"{source!r}: + joins two steps, * repeats one (20*ER), & joins constraints; here stand {a!r} and {b!r}"
                ) from None
    raise InputError(f"{source!r} is not allowed in a recipe; it is made of steps, numbers, + and *, such as 20*ER + 180*HIO(beta=0.9)")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9


def _call(name: str, args: tuple, settings: dict[str, Any], source: str, names: Mapping[str, type]) -> Any:
    if name not in names:
        near = [n for n in names if n.lower() == name.lower()] or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(sorted(names))
        raise InputError(f"unknown name {name!r} in the recipe; {hint}")
    cls = names[name]
    arguments = inspect.signature(cls).parameters.values()
    fields = [a.name for a in arguments]
    for key in settings:
        if key not in fields and not any(a.kind is a.VAR_KEYWORD for a in arguments):
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(fields) or 'no settings'}"
            raise InputError(f"{name} has no setting {key!r}; {hint}")
    try:
        return cls(*args, **settings)
    except TypeError:
        raise InputError(f"{source!r}: {name} takes ({', '.join(fields)})") from None


def former_settings(**former: str) -> Callable[[type[Kind]], type[Kind]]:
    """A class whose settings had other names in an earlier release, old="new": they work as keywords, with a warning."""

    def renamed(cls: type[Kind]) -> type[Kind]:
        begin: Any = cls.__init__

        @functools.wraps(begin)
        def __init__(self: Kind, *args: Any, **settings: Any) -> None:
            for old in settings.keys() & former.keys():
                if former[old] in settings:
                    raise InputError(f"{cls.__name__}({old}=, {former[old]}=): the same setting twice; leave {old} out")
                text = f"{cls.__name__}.{old} is called {cls.__name__}.{former[old]} now"
                warnings.warn(text, FormerNameWarning, stacklevel=2)
                settings[former[old]] = settings.pop(old)
            begin(self, *args, **settings)

        cls.__init__ = __init__  # type: ignore[method-assign]
        return cls

    return renamed


def write(value: Any) -> str:
    """The text of a frozen dataclass: its name and the settings that differ from the defaults. read(write(x)) == x."""
    settings = []
    required = True
    for f in dataclasses.fields(value):
        if not (f.init and f.repr):
            continue
        v = getattr(value, f.name)
        v = v.item() if hasattr(v, "item") and getattr(v, "ndim", 0) == 0 else v  # a NumPy number is written as a number
        has_default = f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
        required = required and not has_default
        default = f.default if f.default is not dataclasses.MISSING else None
        if f.default_factory is not dataclasses.MISSING:
            default = f.default_factory()
        if required:
            settings.append(repr(v))
        elif type(v) is not type(default) or (v is not default if getattr(v, "ndim", 0) else v != default):
            settings.append(f"{f.name}={v!r}")
    return f"{type(value).__name__}({', '.join(settings)})"
