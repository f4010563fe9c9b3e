"""The house: imports point downwards, heavy things stay where they belong, and nothing dangerous is in the source."""

from __future__ import annotations

import ast
import re
from importlib import metadata
from pathlib import Path

import pytest

import untwin

SRC = Path(untwin.__file__).parent
FILES = sorted(SRC.rglob("*.py"))

# A room imports only from rooms below it; rooms of equal height do not know each other. config and doctor serve the command line.
HEIGHT = {
    "errors": 0,
    "engine": 0,
    "fourier": 1,
    "expression": 1,
    "processes": 1,
    "provenance": 1,
    "data": 2,
    "model": 3,
    "judge": 4,
    "solve": 5,
    "simulate": 5,
    "learn": 5,
    "show": 6,
    "config": 7,
    "doctor": 7,
    "cli": 8,
    "__main__": 9,
}

# file -> (module, reason)
UPWARD = {
    "solve/state.py": ("untwin.show.object", "Reconstruction.plot: a method that users expect there"),
    "solve/restore.py": ("untwin.show.restored", "Restored.plot: likewise"),
}


def room(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path, types: bool = True) -> list[tuple[int, str]]:
    """(line, module) of every import, those inside functions too; with types=False without `if TYPE_CHECKING`."""
    found = []

    def walk(node: ast.AST) -> None:
        if not types and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.extend((node.lineno, a.name) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ("untwin", *file.relative_to(SRC).parts[:-1])
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            # `from untwin import fourier` and `from untwin.solve import run` name modules
            found.extend((node.lineno, f"{base}.{a.name}" if base.startswith("untwin") else base) for a in node.names)
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(tree(file))
    return found


def name(file: Path) -> str:
    return file.relative_to(SRC).as_posix()


@pytest.mark.parametrize("file", FILES, ids=name)
def test_imports_point_downwards(file):
    here = room(file.relative_to(SRC).parts)
    if here == "__init__":
        assert not [m for _, m in imports(file) if m.startswith("untwin")], "the front door imports lazily"
        return
    assert here in HEIGHT, f"{here} has no place in the house; give it one in HEIGHT"
    wrong = []
    for line, module in imports(file):
        parts = module.split(".")
        if parts[0] != "untwin" or len(parts) < 2 or parts[1] == here:
            continue
        there = parts[1]
        if there == "__version__" or HEIGHT.get(there, 99) < HEIGHT[here]:
            continue
        allowed = UPWARD.get(name(file), ("", ""))[0]
        if not (allowed and module.startswith(allowed)):
            wrong.append(f"{name(file)}:{line} imports {module}")
    assert not wrong, wrong


def test_every_exception_is_still_needed():
    for file, (module, reason) in UPWARD.items():
        assert reason and any(m.startswith(module) for _, m in imports(SRC / file)), f"{file} no longer imports {module}"


def test_a_room_has_no_ring_of_imports_at_module_level():
    """Within a room, too, what is imported at the top points one way."""
    graph: dict[str, set[str]] = {}
    for file in FILES:
        module = ".".join(("untwin", *file.relative_to(SRC).with_suffix("").parts))
        top = [n for n in tree(file).body if isinstance(n, ast.Import | ast.ImportFrom)]
        graph[module] = {n.module for n in top if isinstance(n, ast.ImportFrom) and n.module and n.module.startswith("untwin.")}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module in done:
            return
        for child in graph.get(module, ()):
            visit(child, (*path, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("file", FILES, ids=name)
def test_heavy_packages_are_imported_inside_the_functions_that_need_them(file):
    top = [n for n in tree(file).body if isinstance(n, ast.Import | ast.ImportFrom)]
    modules = {a.name for n in top if isinstance(n, ast.Import) for a in n.names} | {n.module for n in top if isinstance(n, ast.ImportFrom)}
    assert not {
        m for m in modules if m and m.split(".")[0] in {"torch", "matplotlib", "skimage", "loky", "h5py", "tifffile", "safetensors"}
    }


@pytest.mark.parametrize("file", FILES, ids=name)
def test_only_show_draws_and_only_the_command_line_prints(file):
    here = room(file.relative_to(SRC).parts)
    if here != "show":
        assert not [m for _, m in imports(file, types=False) if m.split(".")[0] in {"matplotlib", "colorcet"}]
    if here != "cli":
        calls = [n for n in ast.walk(tree(file)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        assert not [n.lineno for n in calls if n.func.id in {"print", "input"}]
        assert not [m for _, m in imports(file) if m.split(".")[0] in {"rich", "cyclopts"}]


@pytest.mark.parametrize("file", FILES, ids=name)
def test_nothing_in_the_source_runs_what_it_is_given(file):
    assert not [
        m for _, m in imports(file) if m.split(".")[0] in {"torchvision", "pickle", "cPickle", "dill", "marshal", "shelve", "subprocess"}
    ]
    for node in ast.walk(tree(file)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}, (
            f"{name(file)}:{node.lineno} calls {called}"
        )
        for k in node.keywords:
            value = k.value.value if isinstance(k.value, ast.Constant) else None
            danger = {"allow_pickle": True, "weights_only": False, "shell": True}
            assert k.arg not in danger or value is (not danger[k.arg]), f"{name(file)}:{node.lineno} {k.arg}={ast.unparse(k.value)}"
        if called.endswith("torch.load"):
            assert any(k.arg == "weights_only" for k in node.keywords), f"{name(file)}:{node.lineno}: say weights_only=True"


@pytest.mark.parametrize("file", FILES, ids=name)
def test_libraries_do_not_seed(file):
    """Randomness is an argument: no global generator is used."""
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"\b(torch\.manual_seed|np\.random\.(seed|rand|randn|normal|poisson)\b|random\.seed)", text)


# requirements


def requirements(distribution: str) -> list:
    from packaging.requirements import Requirement

    return [Requirement(r) for r in metadata.requires(distribution) or ()]


def test_nothing_that_untwin_needs_needs_torchvision_or_another_torch():
    """Walks the installed tree of requirements."""
    try:
        metadata.distribution("untwin")
    except metadata.PackageNotFoundError:
        pytest.skip("untwin is not installed as a distribution (pip install -e .): its requirements cannot be walked")
    from packaging.utils import canonicalize_name

    seen, missing = set(), set()
    queue = [("untwin", frozenset())]
    while queue:
        owner, extras = queue.pop()
        if (owner, extras) in seen:
            continue
        seen.add((owner, extras))
        try:
            needed = requirements(owner)
        except metadata.PackageNotFoundError:
            missing.add(owner)
            continue
        for r in needed:
            wanted = [{"extra": e} for e in extras] or [{"extra": ""}]
            if r.marker and not any(r.marker.evaluate(e) for e in wanted):
                continue
            child = canonicalize_name(r.name)
            assert child != "torchvision", f"{owner} requires torchvision"
            if child == "torch":
                assert owner == "untwin" and str(r.specifier) == ">=2.4", f"{owner} requires torch{r.specifier}"
            queue.append((child, frozenset(r.extras)))
    assert not missing, f"required and not installed: {sorted(missing)}"
    assert len(seen) > 10
