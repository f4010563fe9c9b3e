"""The rules of docs/style.md that a program can check: how long a sentence is, how many conditions it has, and words of our own.

python tests/prose.py README.md docs/start.md     # every sentence that breaks a rule
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_WORDS = 28
MOST_CONDITIONS = 1
CONDITIONS = re.compile(r"\b(if|unless|where|when|whenever|while|until|whether|as long as|provided|in case)\b", re.IGNORECASE)
# words that mean something else here than in the field, and what to write instead; those of the glossary stand there
OWN_WORDS = {
    "dealt": "divided among",
    "bred": "made in guided generations",
    "breeding": "guided generations",
    "alike": "the same, or similar",
    "ceiling": "upper bound on the magnitude",
    "speckles behind the stop": "hidden speckles",
    "house": "package",
    "room": "subpackage",
    "door": "function",
    "redrawn": "refined",
    "reported in any case": "shown",
    "comes to nothing": "fails",
}
_PRIVATE = re.compile(rf"\b({'|'.join(OWN_WORDS)})\b", re.IGNORECASE)
_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|cf|vs|et al|Fig|Eq|No|Dr|approx)\.")


@dataclass(frozen=True)
class Fault:
    line: int
    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.line}: {self.rule}: {self.sentence}"


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of what is read as sentences: paragraphs and items of lists; no code, tables, headings or HTML."""
    block: list[str] = []
    begin, fenced = 1, False
    for number, line in enumerate([*text.splitlines(), ""], 1):
        bare = line.strip()
        if re.match(r"(```|~~~|:::)", bare):
            fenced = not fenced if not bare.startswith(":::") else fenced
            bare = ""
        if fenced or line.startswith("    ") or re.match(r"[|#<]|!\[|---$|\(\w+\)=|\[\^?[\w-]+\]:", bare):
            bare = ""
        item = re.match(r"([-*+]|\d+\.)\s+", bare)
        if block and (not bare or item):
            yield begin, " ".join(block)
            block = []
        if bare:
            if not block:
                begin = number
            block.append(bare[item.end() :] if item else bare)


def sentences(text: str) -> Iterator[tuple[int, str]]:
    for line, paragraph in paragraphs(text):
        plain = re.sub(r"`[^`]*`", "X", paragraph)  # a name in code is one word
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", plain)
        plain = _ABBREVIATION.sub(lambda m: m[0].replace(".", ""), re.sub(r"[*_]{1,3}([^*_]+)[*_]{1,3}", r"\1", plain))
        for sentence in re.split(r"(?<=[.!?])[)\"']?\s+", plain):
            if sentence.strip():
                yield line, sentence.strip()


def faults(text: str) -> list[Fault]:
    wrong = []
    for line, sentence in sentences(text):
        words = len(re.findall(r"[\w×³²'’%-]+", sentence))
        if words > MOST_WORDS:
            wrong.append(Fault(line, f"{words} words", sentence))
        if (conditions := len(CONDITIONS.findall(sentence))) > MOST_CONDITIONS:
            wrong.append(Fault(line, f"{conditions} conditions", sentence))
        wrong += [Fault(line, f"{m[0]!r}: write {OWN_WORDS[m[0].lower()]!r}", sentence) for m in _PRIVATE.finditer(sentence)]
    return wrong


if __name__ == "__main__":
    for name in sys.argv[1:]:
        for fault in faults(Path(name).read_text(encoding="utf-8")):
            sys.stdout.write(f"{name}:{fault}\n")
