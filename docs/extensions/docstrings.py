"""Sphinx extension: the plain docstrings of untwin as reStructuredText.

In the source they are sentences and lines such as "beta: relaxation, above 0 and at most 1." That is what an editor shows. Here each line
that begins with the name of an argument or field becomes an entry of a list; everything else stays text, formulas to the letter.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Collection
from typing import Any

_ENTRY = re.compile(r"(\*{0,2}[A-Za-z_]\w*(?:(?:, | and )\*{0,2}[A-Za-z_]\w*)*): (?=\S)")
_BULLET = re.compile(r"(- |\d+\. )")
_PAGE = re.compile(r"docs/([\w-]+)\.md")
_MARKED = re.compile(rf"(`[^`]+`|{_PAGE.pattern.replace('(', '(?:', 1)})")


def escaped(text: str) -> str:
    """Text that reStructuredText shows as it is; what stands in backticks as code, a page of docs/ as a link to it."""
    parts = _MARKED.split(text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"([\\*|`]|_(?![A-Za-z0-9])|:(?=\S))", r"\\\1", parts[i])
    for i in range(1, len(parts), 2):
        page = _PAGE.fullmatch(parts[i])
        parts[i] = f":doc:`/{page[1]}`" if page else f"`{parts[i]}`"
        if parts[i - 1] and not parts[i - 1].endswith((" ", "(")):
            parts[i] = "\\ " + parts[i]
        if parts[i + 1] and parts[i + 1][0].isalnum():
            parts[i] += "\\ "
    return "".join(parts)


def summary(text: str | None) -> str:
    """The first sentence of a docstring, in one line. '' where there is none."""
    paragraph = " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())
    found = re.match(r"(.*?[^.\d][.?!])(?: (?=[A-Z`(])|$)", paragraph)
    sentence = found[1] if found else paragraph
    return sentence if sentence.count("(") == sentence.count(")") else paragraph


def own_docstring(thing: Any) -> str:
    """What somebody has written about it. '' where nobody has: the signature that a dataclass gives itself does not count."""
    text = (vars(thing).get("__doc__") if inspect.isclass(thing) else getattr(thing, "__doc__", None)) or ""
    return "" if inspect.isclass(thing) and text.startswith(f"{thing.__name__}(") else text


def names_of(thing: Any) -> set[str]:
    """The names that a docstring may explain: arguments, fields, annotations, properties."""
    names: set[str] = set()
    if inspect.isclass(thing):
        for base in thing.__mro__[:-1]:
            names |= set(vars(base).get("__annotations__", {}))
            names |= {name for name, value in vars(base).items() if isinstance(value, property)}
        if dataclasses.is_dataclass(thing):
            names |= {field.name for field in dataclasses.fields(thing)}
    with contextlib.suppress(TypeError, ValueError):  # of data, and of some classes
        names |= set(inspect.signature(thing).parameters)
    return names


def _entry(line: str, names: Collection[str]) -> tuple[str, str] | None:
    """(names, text) where a line begins with one or more of the names and a colon."""
    found = _ENTRY.match(line)
    if not found:
        return None
    heads = re.split(r", | and ", found[1])
    return (found[1], line[found.end() :]) if all(head.lstrip("*") in names for head in heads) else None


def _entries(line: str, names: Collection[str]) -> list[tuple[str, str]]:
    """The entries of a line: one, and those that begin in its middle after a full stop ("shape: of the array; centre: ...")."""
    first = _entry(line, names)
    if first is None:
        return []
    entries = [first]
    while True:
        head, text = entries[-1]
        for found in re.finditer(r"(?<=[.;]) (?=\*{0,2}[A-Za-z_])", text):
            following = _entry(text[found.end() :], names)
            if following:
                entries[-1] = (head, text[: found.start()])
                entries.append(following)
                break
        else:
            return entries


def _blocks(lines: list[str]) -> list[list[str]]:
    """Paragraphs: lines between empty ones; a line that is not indented after indented ones begins another."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if not line.strip():
            blocks.append([])
        else:
            blocks[-1].append(line.rstrip())
    return [block for block in blocks if block]


def _paragraphs(block: list[str], names: Collection[str]) -> list[tuple[str, list[str]]]:
    """A block as ("text" | "entry" | "bullet", lines), each with the lines that continue it."""
    parts: list[tuple[str, list[str]]] = []
    for line in block:
        if line[0] != " " and _entry(line, names):
            parts.append(("entry", [line]))
        elif _BULLET.match(line):
            parts.append(("bullet", [line]))
        elif parts and (parts[-1][0] == "text" or line[0] == " "):
            parts[-1][1].append(line)
        else:
            parts.append(("text", [line]))
    return parts


def _literal(block: list[str]) -> bool:
    """A table of characters, or lines that are indented: shown to the letter."""
    return all(line.startswith("|") for line in block) or all(line.startswith("    ") for line in block)


def restructured(lines: list[str], names: Collection[str]) -> list[str]:
    """A docstring's lines as reStructuredText. names: what may begin an entry."""
    result: list[str] = []
    listing = False
    for block in _blocks(lines):
        if _literal(block):
            result += ["", "::", "", *("    " + line.removeprefix("    ") for line in block), ""]
            listing = False
            continue
        for kind, part in _paragraphs(block, names):
            text = " ".join(line.strip() for line in part)
            if kind == "entry":
                if not listing:
                    result += ["", ".. rst-class:: entries", ""]
                for head, rest in _entries(text, names):
                    result += [", ".join(f"``{name}``" for name in re.split(r", | and ", head)), f"    {escaped(rest.rstrip(';'))}", ""]
                listing = True
                continue
            listing = False
            if kind == "bullet":
                mark = _BULLET.match(text)
                assert mark
                result += ["", f"{mark[1]}{escaped(text[mark.end() :])}"]
            else:
                shown = escaped(text)
                result += ["", "\\" + shown if re.match(r"[-+•=~^#:]+( |$)|\.\. |\(?\w{1,3}[.)] ", shown) else shown, ""]
    return result


def process_docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    if what == "class" and not own_docstring(thing):
        lines[:] = []
        return
    lines[:] = restructured(list(lines), names_of(thing))


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
