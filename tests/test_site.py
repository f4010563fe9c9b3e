"""The site has a page for every public name, example and notebook; links lead somewhere; nothing comes from the network."""

from __future__ import annotations

import importlib
import json
import re
import sys
import tomllib
import types
from pathlib import Path

import pytest

import untwin

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def extensions():
    """The modules pages and docstrings of docs/extensions."""
    sys.path.insert(0, str(DOCS / "extensions"))
    try:
        yield types.SimpleNamespace(pages=importlib.import_module("pages"), docstrings=importlib.import_module("docstrings"))
    finally:
        sys.path.remove(str(DOCS / "extensions"))
        for name in ("pages", "docstrings"):
            sys.modules.pop(name, None)


def test_every_public_name_has_a_page(extensions):
    written = extensions.pages.reference()
    for module, names in extensions.pages.public_names().items():
        assert f"reference/{module}.rst" in written
        for name in names:
            assert f":: {name}\n" in written[f"reference/{extensions.pages.page_of(module, name)}.rst"]
    listed = {name for names in extensions.pages.public_names().values() for name in names}
    spaces = {n for n in untwin.__all__ if isinstance(getattr(untwin, n), types.ModuleType)}
    assert set(untwin.__all__) - {"__version__"} <= listed | spaces


def test_no_two_pages_differ_in_capitals_alone(extensions):
    written = extensions.pages.reference()
    assert len({name.lower() for name in written}) == len(written)


def test_every_public_name_says_what_it_is(extensions):
    silent = [f"{m}.{n}" for m, names in extensions.pages.public_names().items() for n in names if not extensions.pages.described(m, n)]
    assert not silent


def test_the_command_line_page_has_every_command(extensions, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "sphinx"])  # as in the build
    text = extensions.pages.command_line()["reference/command-line.md"]
    app = importlib.import_module("untwin.cli.app").app
    commands = [name for name in app if not name.startswith("-")]
    assert len(commands) > 10
    assert all(f"## untwin {name}\n" in text for name in commands)
    assert "untwin reconstruct [OPTIONS] [ARGS...]\n" in text
    assert "3\\*(20\\*ER+180\\*HIO+ShrinkWrap)+20\\*ER" in text  # a recipe stays a recipe, and is no emphasis


def test_every_example_is_in_the_gallery_and_its_code_is_whole(extensions):
    written = extensions.pages.gallery()
    for example in (ROOT / "examples").glob("*.py"):
        page = written[f"gallery/{example.stem}.md"]
        code = [line for line in example.read_text(encoding="utf-8").split('"""', 2)[2].splitlines() if line.strip() and "# %%" not in line]
        assert all(line.rstrip() in page for line in code)
        assert f"gallery/{example.stem}" in written["gallery/cards.txt"]
        assert (DOCS / "pictures" / f"{example.stem}.png").is_file(), f"make pictures draws that of {example.name}"


def test_docstrings_become_lists_and_keep_their_formulas(extensions):
    lines = [
        "Relaxed: x' = β/2 (R_S R_M + I) x, |x|² and 3*(20*ER).",
        "",
        "beta: above 0; gamma: a part.",
        "    More of it.",
        "",
        "The end: here.",
    ]
    shown = extensions.docstrings.restructured(lines, {"beta", "gamma"})
    assert "Relaxed: x' = β/2 (R_S R_M + I) x, \\|x\\|² and 3\\*(20\\*ER)." in shown
    assert shown[shown.index("``beta``") + 1] == "    above 0"
    assert shown[shown.index("``gamma``") + 1] == "    a part. More of it."
    assert "The end: here." in shown


def test_a_table_of_characters_stays_one(extensions):
    assert extensions.docstrings.restructured(["| a | b |", "| 1 | 2 |"], ())[1:5] == ["::", "", "    | a | b |", "    | 1 | 2 |"]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as a code host makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "page", [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda p: p.name
)
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r"^(```|    ).*?$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http", "mailto")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_no_markdown_table_has_a_bar_inside_a_cell():
    for page in DOCS.glob("*.md"):
        rows = re.findall(
            r"(?:^\|.*\|$\n?)+", re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL), re.MULTILINE
        )
        for table in rows:
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(widths) == 1, f"{page.name}: {table.splitlines()[0]}"


def test_the_page_on_installing_has_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    text = (DOCS / "install.md").read_text(encoding="utf-8")
    assert not [extra for extra in extras if f"| `{extra}` |" not in text]


def test_every_page_is_in_a_table_of_contents():
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    trees = "\n".join(re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).split()
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= set(trees)


def test_the_list_of_tables_of_an_earlier_version_is_that_of_their_files():
    def versions(content) -> set[str]:
        if isinstance(content, dict):
            own = content.get("untwin")
            return {own} if isinstance(own, str) and own[:1].isdigit() else set().union(*map(versions, content.values()))
        return set().union(*map(versions, content)) if isinstance(content, list) else set()

    files = (ROOT / "benchmarks" / "results").glob("*.json")
    older = {file.name for file in files if "0.1.0" in versions(json.loads(file.read_text(encoding="utf-8")))}
    section = (DOCS / "benchmarks.md").read_text(encoding="utf-8").split("## Tables of version 0.1.0")[1].split("\n## ")[0]
    assert set(re.findall(r"`([\w-]+\.json)`", section)) == older


def test_each_fault_of_the_table_of_guarantees_is_of_the_code_as_it_is(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    mutants = importlib.import_module("mutants").MUTANTS
    sources = {m.file: (ROOT / "src" / "untwin" / m.file).read_text(encoding="utf-8") for m in mutants}
    assert [(m.file, m.old) for m in mutants if sources[m.file].count(m.old) != 1] == []
    rows = json.loads((ROOT / "benchmarks" / "results" / "mutants.json").read_text(encoding="utf-8"))["rows"]
    assert {(m.guarantee, m.test) for m in mutants} == {(row["guarantee"], row["test"]) for row in rows}
