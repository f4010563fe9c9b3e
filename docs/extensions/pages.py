"""Sphinx extension: writes the pages that follow from the package itself, before Sphinx reads any.

    reference/   a page for every public name, one for each module of them, and one for the command line
    gallery/     a page for every example: what it says of itself, its picture, its code
    tutorials/   the notebooks

All three are made anew by each build and not in the repository. A new name in an `__all__`, a new example and a new notebook have
their page by themselves.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import types
from pathlib import Path
from typing import Any

from docstrings import escaped, own_docstring, summary

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
EXAMPLES, NOTEBOOKS, PICTURES = ROOT / "examples", ROOT / "examples" / "notebooks", DOCS / "pictures"
WITHOUT_ALL = ("simulate",)  # a module whose public names are those of dir()


def public_names() -> dict[str, list[str]]:
    """Module -> its public names, that of the package first. A name that the package has, too, stands there alone."""
    package = importlib.import_module("untwin")
    names = {"untwin": [n for n in package.__all__ if n != "__version__" and not isinstance(getattr(package, n), types.ModuleType)]}
    spaces = {n for n in package.__all__ if isinstance(getattr(package, n), types.ModuleType)} | set(WITHOUT_ALL)
    at_the_top = {id(getattr(package, n)) for n in names["untwin"]}
    for space in sorted(spaces):
        module = importlib.import_module(f"untwin.{space}")
        listed = dir(module) if space in WITHOUT_ALL else module.__all__
        names[module.__name__] = [n for n in listed if id(getattr(module, n)) not in at_the_top]
    return names


def kind(thing: Any) -> str:
    """What autodoc calls it."""
    if inspect.isclass(thing):
        return "exception" if issubclass(thing, BaseException) else "class"
    return "function" if callable(thing) else "data"


def page_of(module: str, name: str) -> str:
    """The page's name. A class and a function whose names differ in capitals alone are two files on every system."""
    thing = getattr(importlib.import_module(module), name)
    return f"{module}.{name}" + ("-class" if inspect.isclass(thing) and name.lower() in dir(importlib.import_module(module)) else "")


def described(module: str, name: str) -> str:
    """One sentence on a public name. Of data: the comment "#:" above it, or what its class says."""
    thing = getattr(importlib.import_module(module), name)
    return summary(own_docstring(thing) if kind(thing) != "data" else comment_above(module, name))


def comment_above(module: str, name: str) -> str:
    """The lines "#: ..." above the assignment of a name, in the file that makes it."""
    for file in sorted((ROOT / "src" / "untwin").joinpath(*module.split(".")[1:]).rglob("*.py")):
        found = re.search(rf"((?:^#: .*\n)+){name}\b.*=", file.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return " ".join(line.removeprefix("#: ") for line in found[1].splitlines())
    return ""


def _heading(text: str, mark: str) -> str:
    return f"{text}\n{mark * len(text)}\n"


def _name_page(module: str, name: str) -> str:
    thing = getattr(importlib.import_module(module), name)
    lines = [_heading(name, "="), f".. currentmodule:: {module}\n", f".. auto{kind(thing)}:: {name}"]
    if kind(thing) == "class":
        lines += ["   :members:", "   :show-inheritance:"]
    if kind(thing) == "data":
        lines += ["   :no-value:", "", f"   {escaped(comment_above(module, name))}"]
    short = module.replace("untwin", "ut", 1)
    lines += ["", ".. rst-class:: home", "", f"In Python: ``{short}.{name}``, after ``import untwin as ut``."]
    source = getattr(thing, "__module__", "") or ""
    if source.startswith("untwin."):
        lines.append(f"Source: ``{_file_of(source)}``.")
    return "\n".join(lines) + "\n"


def _file_of(module: str) -> str:
    path = "src/" + module.replace(".", "/")
    return path + "/__init__.py" if (ROOT / path).is_dir() else path + ".py"


def _module_page(module: str, names: list[str]) -> str:
    thing = importlib.import_module(module)
    lines = [
        _heading(module, "="),
        f".. module:: {module}\n",
        *_as_text((thing.__doc__ or "").split("\n\n")[0] if module == "untwin" else thing.__doc__),
        "",
    ]
    groups = {"Functions": "function", "Classes": "class", "Data": "data", "Errors and warnings": "exception"}
    for title, what in groups.items():
        members = [n for n in names if kind(getattr(thing, n)) == what]
        if members:
            lines += [_heading(title, "-"), ".. list-table::", "   :widths: 28 72", "   :class: names", ""]
            for name in members:
                lines += [f"   * - :doc:`{name} <{page_of(module, name)}>`", f"     - {escaped(described(module, name))}"]
            lines.append("")
    lines += [".. toctree::", "   :hidden:", "   :maxdepth: 1", "", *(f"   {page_of(module, name)}" for name in names)]
    return "\n".join(lines) + "\n"


def _as_text(docstring: str | None) -> list[str]:
    from docstrings import restructured

    return restructured(inspect.cleandoc(docstring or "").splitlines(), ())


def reference() -> dict[str, str]:
    """File -> text of the reference of Python."""
    pages = {"reference/modules.txt": _modules()}
    for module, names in public_names().items():
        pages[f"reference/{module}.rst"] = _module_page(module, names)
        pages |= {f"reference/{page_of(module, name)}.rst": _name_page(module, name) for name in names}
    return pages


def _modules() -> str:
    """The table of modules, which docs/reference.md shows."""
    rows = ["| module | what it holds | names |", "|---|---|---|"]
    for module, names in public_names().items():
        about = summary(importlib.import_module(module).__doc__).replace("|", "\\|")
        rows.append(f"| [{module}](reference/{module}.rst) | {about} | {len(names)} |")
    listing = ["", "```{toctree}", ":hidden:", ":caption: Python", "", *(f"reference/{module}" for module in public_names()), "```"]
    return "\n".join([*rows, *listing]) + "\n"


def command_line() -> dict[str, str]:
    """The page of the command line, from the program itself."""
    importlib.import_module("untwin.cli")
    app = importlib.import_module("untwin.cli.app").app
    text = app.generate_docs(output_format="markdown", max_heading_level=3)
    head, commands = text.split("## Table of Contents", 1)
    head = head.replace("# untwin", "# Command line", 1)
    commands = re.sub(r"^.*?(?=^## untwin )", "", commands, count=1, flags=re.DOTALL | re.MULTILINE)
    lines, code = [], False
    for line in re.sub(r"^(untwin [a-z ]*?) -m \w+", r"\1", head + commands, flags=re.MULTILINE).splitlines():  # as if run by its name
        code ^= line.startswith("```")
        lines.append(line if code or line.startswith(("```", "#")) else _option(line))
    return {"reference/command-line.md": "\n".join(lines) + "\n"}


def _option(line: str) -> str:
    """A line of a command's description, with everything that Markdown would take for a mark of its own as it is."""
    found = re.match(r"(\s*\* (?:`[^`]*`|\[`[^`]*`\]\([^)]*\)):? ?)(.*)", line)
    mark, text = (found[1], found[2]) if found else ("", line)
    if re.fullmatch(r"\*\*[\w ]+\*\*:", text):
        return text
    parts = re.split(r"(`[^`]*`|\*\[(?:default|choices|required|env var)[^\]]*\]\*)", text)
    parts[::2] = [re.sub(r"([*_<>\[\]|])", r"\\\1", part) for part in parts[::2]]
    return mark + "".join(parts)


def _title(example: Path) -> str:
    first = (ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or example.stem).splitlines()[0]
    return re.split(r"[:.](?: |$)", first)[0]


def gallery() -> dict[str, str]:
    """File -> text of a page for every example, and the cards of all, which docs/gallery.md shows."""
    examples = sorted(EXAMPLES.glob("*.py"))
    cards = ["::::{grid} 1 2 3 3", ":gutter: 3", ""]
    for example in examples:
        cards += [f":::{{grid-item-card}} {_title(example)}", f":link: gallery/{example.stem}", ":link-type: doc"]
        if (PICTURES / f"{example.stem}.png").is_file():
            cards.append(f":img-bottom: pictures/{example.stem}.png")
            cards.append(":img-alt: The picture that the script draws")
        cards += [":::", ""]
    pages = {f"gallery/{example.stem}.md": _example_page(example) for example in examples}
    return pages | {"gallery/cards.txt": "\n".join([*cards, "::::"]) + "\n"}


def _example_page(example: Path) -> str:
    source = example.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    text = [part for part in docstring.split("\n\n") if not part.lstrip().startswith("python ")]
    command = f"    python examples/{example.name} picture.png"
    lines = [f"# {_title(example)}", "", "\n\n".join(text), "", command, ""]
    if (PICTURES / f"{example.stem}.png").is_file():
        lines += [f"![The picture of this example](../pictures/{example.stem}.png)", ""]
    body = source.split('"""', 2)[2]
    for cell in re.split(r"^# %% ?", body, flags=re.MULTILINE)[1:]:
        words, code = cell.split("\n", 1)
        lines += [words, "", "```python", code.rstrip(), "```", ""]
    return "\n".join([*lines, f"The file: {{download}}`{example.name} <../../examples/{example.name}>`"]) + "\n"


def tutorials() -> dict[str, str]:
    """File -> text of every notebook, and the list of them, which docs/tutorials.md shows."""
    notebooks = [*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("*.md")] if NOTEBOOKS.is_dir() else []
    listing = ["```{toctree}", ":maxdepth: 1", "", *(f"tutorials/{path.stem}" for path in sorted(notebooks)), "```"] if notebooks else []
    pages = {"tutorials/list.txt": "\n".join(listing) + "\n"}
    return pages | {f"tutorials/{path.name}": path.read_text(encoding="utf-8") for path in sorted(notebooks)}


def write_pages(app: Any = None) -> None:
    """Write what has changed, remove what is no page any more. Equal files stay, so that Sphinx does not read them again."""
    pages = reference() | command_line() | gallery() | tutorials()
    for folder in ("reference", "gallery", "tutorials"):
        (DOCS / folder).mkdir(exist_ok=True)
        for old in (DOCS / folder).iterdir():
            if f"{folder}/{old.name}" not in pages and old.suffix in (".rst", ".md", ".ipynb"):
                old.unlink()
    for name, text in pages.items():
        path = DOCS / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def outside_links(app: Any, page: str, source: list[str]) -> None:
    """Links of the Markdown to files beside docs/: those that have a page go there."""
    source[0] = source[0].replace("](../CONTRIBUTING.md", "](contributing.md").replace("](../CHANGELOG.md", "](changes.md")


def unknown_type(app: Any, environment: Any, node: Any, content: Any) -> Any:
    """A type in a signature: the page of a public name, whatever module it was taken from; plain text where it has none."""
    if node.get("refdomain") != "py":
        return None
    domain, last = environment.domains["py"], node.get("reftarget", "").rsplit(".", 1)[-1]
    name = next((full for full in domain.objects if full.rsplit(".", 1)[-1] == last and full.count(".") <= 2), None)
    return domain.resolve_xref(environment, node["refdoc"], app.builder, "obj", name, node, content) if name else content


def links_from_source(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """From a page of source back to that of a name. viewcode takes all names of a file for one module's, and here each has its own."""
    if not page.startswith("_modules/"):
        return

    def corrected(found: re.Match) -> str:
        full = found[2].removesuffix("-class")
        inside = found[3].partition("." + full.rsplit(".", 1)[-1])[2]  # of a method: its name
        return f"{found[1]}{found[2]}.html#{full}{inside}"

    context["body"] = re.sub(r'(href="[^"#]*reference/)([\w.-]+)\.html#([\w.]+)', corrected, context["body"])


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", write_pages)
    app.connect("source-read", outside_links)
    app.connect("missing-reference", unknown_type)
    app.connect("html-page-context", links_from_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
