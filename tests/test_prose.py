"""The pages are written as docs/style.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from prose import faults, sentences

ROOT = Path(__file__).parent.parent
PAGES = [p for p in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if "_build" not in p.parts]
# faults that are left on pages of results; a number here may fall and not rise
LEFT: dict[str, int] = {}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_page_keeps_the_rules(page):
    wrong = faults(page.read_text(encoding="utf-8"))
    assert len(wrong) <= LEFT.get(page.relative_to(ROOT).as_posix(), 0), "\n".join(map(str, wrong))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (" ".join(["word"] * 29) + ".", "29 words"),
        ("If it rains, take a coat where you are.", "2 conditions"),
        ("The starts are dealt to families.", "'dealt': write 'divided among'"),
    ],
)
def test_what_breaks_a_rule_is_found(text, rule):
    assert [fault.rule for fault in faults(text)] == [rule]


def test_code_and_tables_are_no_sentences():
    text = "# If when where\n\n    if a: where\n\n| if | when |\n\n```python\nif a when b\n```\n\nOne. `if when` is code, e.g. this. Two.\n"
    assert [s for _, s in sentences(text)] == ["One.", "X is code, eg this.", "Two."]
