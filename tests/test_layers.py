"""The house: imports point downwards, files and functions are short, heavy things stay where they belong, nothing is dangerous."""

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
    "notebook": 0,
    "engine": 0,
    "checks": 1,
    "fourier": 1,
    "expression": 1,
    "processes": 1,
    "random": 1,
    "provenance": 1,
    "parcel": 2,
    "cluster": 3,
    "data": 3,
    "bragg": 4,
    "live": 4,
    "model": 5,
    "judge": 6,
    "solve": 7,
    # the namespaces of the public names
    "algorithms": 8,
    "rules": 8,
    "priors": 8,
    "physics": 8,
    "constraints": 8,
    "losses": 8,
    "metrics": 8,
    "runs": 9,
    "simulate": 9,
    "learn": 9,
    "plans": 10,
    "show": 10,
    "config": 11,
    "doctor": 11,
    "task": 12,
    "batch": 13,
    "many": 14,
    "results": 15,
    "cli": 15,
    "__main__": 16,
}

# file -> (module, reason)
UPWARD = {
    "notebook.py": ("untwin.show.", "what notebooks show of an object, a method that they look for there"),
    "data/measurement.py": ("untwin.show.", "plot: a method that users expect there"),
    "bragg/maps.py": ("untwin.show.", "plot: likewise"),
    "runs/solution.py": ("untwin.show.", "plot: a method that users expect there"),
    "runs/deconvolve.py": ("untwin.show.", "plot: likewise"),
}

# (file, module that it imports, inside functions): what closes a circle of files. Without these, the imports of the package form none.
CIRCLES = {
    ("notebook.py", "untwin.show.notebook"),
    ("data/measurement.py", "untwin.show.pattern"),
    ("data/measurement.py", "untwin.show.exposures"),
    ("bragg/maps.py", "untwin.show.strain"),
    # a solution draws, saves and averages itself: methods that users expect there
    ("runs/solution.py", "untwin.show.object"),
    ("runs/solution.py", "untwin.show.orientation"),
    ("runs/solution.py", "untwin.show.restored"),
    ("runs/solution.py", "untwin.runs.archive"),
    ("runs/deconvolve.py", "untwin.show.deconvolved"),
    ("runs/deconvolve.py", "untwin.runs.archive"),
    ("bragg/scan.py", "untwin.bragg.prepare"),  # and a scan prepares itself
}

# No file has more lines, and no function; what is longer stands here until it is mended.
LINES, FUNCTION = 500, 60
LONG_FILES: set[str] = set()
LONG_FUNCTIONS = {}


# No variable, argument, field or function has one of these words for its name: they say when a thing came, or where it lies, and not what
# it is.
PRIVATE_WORDS = {"found", "told", "said", "kept", "given", "made", "here", "there", "seen", "moved", "held", "whole", "turned", "place",
                 "done", "beside", "apart"}  # fmt: skip
WORDS_THAT_STAY = {
    "solve/recipe.py done", "solve/stopping.py done",  # a method of Rule: have the starts stopped?
    "runs/solution.py made", "cli/learn.py held", "learn/train.py held", "simulate/domains.py apart",  # in files, options and recipes
    "simulate/bodies.py place", "simulate/composites.py place",  # a verb: a body is placed in the array
}  # fmt: skip


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


def links() -> dict[str, set[str]]:
    """module -> the modules of the package that it imports, those inside functions and for types too. The front door has none."""
    modules = {".".join(("untwin", *f.relative_to(SRC).with_suffix("").parts)).removesuffix(".__init__"): f for f in FILES}
    graph = {}
    for module, file in modules.items():
        targets = set()
        for _, target in imports(file) if module != "untwin" else ():
            while target and target not in modules:
                target = target.rpartition(".")[0]
            targets.add(target)
        graph[module] = targets - {"", "untwin", module}
    return graph


def module_of(file: str) -> str:
    return "untwin." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def circle(graph: dict[str, set[str]]) -> tuple[str, ...]:
    """A circle of the graph, or ()."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> tuple[str, ...]:
        if module in path:
            return (*path[path.index(module) :], module)
        if module not in done:
            for target in sorted(graph[module]):
                if ring := visit(target, (*path, module)):
                    return ring
            done.add(module)
        return ()

    return next(filter(None, (visit(module, ()) for module in graph)), ())


def test_a_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ("b", "c", "b") and not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_no_files_import_each_other_in_a_circle():
    """Within a room, too, and inside functions, what is imported points one way."""
    graph = links()
    for file, target in CIRCLES:
        graph[module_of(file)].discard(target)
    ring = circle(graph)
    assert not ring, " -> ".join(ring)


def test_every_import_that_may_close_a_circle_still_does():
    for file, target in CIRCLES:
        graph = links()
        assert target in graph.get(module_of(file), ()), f"{file} no longer imports {target}; strike it from CIRCLES"
        top = [n for n in tree(SRC / file).body if isinstance(n, ast.ImportFrom)]
        assert not [n for n in top for a in n.names if target in (n.module, f"{n.module}.{a.name}")], f"{file}: {target} at module level"
        for other, its in CIRCLES - {(file, target)}:
            graph.get(module_of(other), set()).discard(its)
        assert circle(graph), f"{target} no longer leads back to {file}; strike it from CIRCLES"


def functions(file: Path) -> dict[str, int]:
    """Lines of each function; of several with one name, those of the longest."""
    nodes = [n for n in ast.walk(tree(file)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {n.name: n.end_lineno - n.lineno + 1 for n in sorted(nodes, key=lambda n: n.end_lineno - n.lineno)}


@pytest.mark.parametrize("file", FILES, ids=name)
def test_files_and_functions_are_short(file):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    if name(file) not in LONG_FILES:
        assert lines <= LINES, f"{name(file)} has {lines} lines; expected at most {LINES}: split it"
    long = {f: n for f, n in functions(file).items() if n > FUNCTION and f not in LONG_FUNCTIONS.get(name(file), ())}
    assert not long, f"{name(file)}: lines of {long}; expected at most {FUNCTION} each: split them"


def test_what_may_be_long_still_is():
    for file in LONG_FILES:
        assert (SRC / file).exists() and len((SRC / file).read_text(encoding="utf-8").splitlines()) > LINES, (
            f"strike {file} from LONG_FILES"
        )
    for file, names in LONG_FUNCTIONS.items():
        lengths = functions(SRC / file) if (SRC / file).exists() else {}
        for function in names:
            assert lengths.get(function, 0) > FUNCTION, f"strike {function} of {file} from LONG_FUNCTIONS"


def bindings(file: Path) -> list[str]:
    """Names of all variables, arguments, fields, functions and classes."""
    nodes = list(ast.walk(tree(file)))
    names = [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    names += [n.arg for n in nodes if isinstance(n, ast.arg)]
    return names + [n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]


def test_names_are_nouns():
    private = {f"{name(f)} {word}" for f in FILES for word in bindings(f) if word.strip("_") in PRIVATE_WORDS}
    assert private == WORDS_THAT_STAY, f"name what it is instead: {sorted(private - WORDS_THAT_STAY)}"


@pytest.mark.parametrize("file", FILES, ids=name)
def test_heavy_packages_are_imported_inside_the_functions_that_need_them(file):
    top = [n for n in tree(file).body if isinstance(n, ast.Import | ast.ImportFrom)]
    modules = {a.name for n in top if isinstance(n, ast.Import) for a in n.names} | {n.module for n in top if isinstance(n, ast.ImportFrom)}
    assert not {
        m
        for m in modules
        if m
        and m.split(".")[0]
        in {
            *("torch", "matplotlib", "skimage", "loky", "h5py", "tifffile", "safetensors", "fabio", "PIL", "dask", "distributed"),
            *("starlette", "uvicorn"),
        }
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


@pytest.mark.parametrize("file", FILES, ids=name)
def test_what_holds_arrays_is_compared_by_identity(file):
    """The == that a dataclass writes for itself raises for arrays, and its hash, too."""
    for node in (n for n in ast.walk(tree(file)) if isinstance(n, ast.ClassDef)):
        decorators = [ast.unparse(d) for d in node.decorator_list if "dataclass" in ast.unparse(d)]
        types = [ast.unparse(n.annotation) for n in node.body if isinstance(n, ast.AnnAssign)]
        if decorators and any(re.search(r"\b(ndarray|Tensors?|State|Pattern)\b", t) and "Callable" not in t for t in types):
            assert "eq=False" in decorators[0], f"{name(file)}:{node.lineno}: {node.name} holds arrays; expected @dataclass(..., eq=False)"


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


@pytest.mark.parametrize("file", [f for f in FILES if name(f).startswith(("solve/", "model/priors/"))], ids=name)
def test_no_method_asks_what_kind_of_problem_it_has(file):
    """A step names the kind that it needs, and recipe.require_suited looks once; what differs is a method of the problem."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            kinds = ast.unparse(node.args[1])
            allowed = {("solve/recipe.py", "part.needs"), ("solve/begin.py", "Problem")}  # the one look, and a function that users call
            asked = {"Problem", "Picture", "InverseProblem", "FarField"} & set(kinds.split(" | "))
            assert (name(file), kinds) in allowed or not asked, ast.unparse(node)
