"""What goes out: complete or not at all, never over something else unasked, and refused before the work where that can be known."""

from __future__ import annotations

import ast
import multiprocessing
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import untwin
from events import LIMIT, forks
from samples import lopsided, pattern, state, thing, wave
from untwin.cli import main
from untwin.data.atomic import atomic_write, atomic_write_bytes, atomic_write_text, new_file, require_writable
from untwin.data.cxi import write_object, write_pattern, write_result
from untwin.data.image import write_image
from untwin.errors import InputError
from untwin.model.networks import weights
from untwin.model.networks.architecture import CdiNN
from untwin.runs.checkpoint import save_state
from untwin.show.pattern import plot_pattern
from untwin.show.style import save_figure
from untwin.simulate.dataset import write

SRC = Path(untwin.__file__).parent


# one writer

WRITES = {
    "write_text",
    "write_bytes",
    "savefig",
    "save",
    "savez",
    "savez_compressed",
    "imsave",
    "imwrite",
    "tofile",
    "dump",
    "save_file",
    "open",
    "File",
}
INTO_MEMORY = {"buffer", "out"}  # names of io.BytesIO objects


def writers(tree: ast.Module) -> list[tuple[int, str]]:
    """(line, call) of everything that writes a file by itself, outside `with atomic_write(...)`."""
    found = []

    def walk(node: ast.AST, safe: bool) -> None:
        if isinstance(node, ast.With) and any(ast.unparse(item.context_expr).startswith("atomic_write(") for item in node.items):
            safe = True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES and not safe:
            texts = [a.value for a in (*node.args, *(k.value for k in node.keywords)) if isinstance(a, ast.Constant)]
            first = ast.unparse(node.args[0]) if node.args else ""
            method = node.func.attr
            owner = ast.unparse(node.func.value)
            opens = method in ("open", "File")
            reads = opens and not any(isinstance(t, str) and set(t) & set("wxa+") and len(t) <= 3 for t in texts)
            core = any(k.arg == "backing_store" for k in node.keywords)
            memory = first in INTO_MEMORY or (len(node.args) > 1 and ast.unparse(node.args[1]) in INTO_MEMORY)
            ours = owner in ("weights",) or (method == "save" and not node.args)
            if not (reads or core or memory or ours):
                found.append((node.lineno, ast.unparse(node)[:80]))
        for child in ast.iter_child_nodes(node):
            walk(child, safe)

    walk(tree, False)
    return found


def test_every_output_goes_through_the_one_writer():
    bad = {}
    for file in sorted(SRC.rglob("*.py")):
        if file.name != "atomic.py" and (there := writers(ast.parse(file.read_text(encoding="utf-8")))):
            bad[file.relative_to(SRC).as_posix()] = there
    assert not bad


@pytest.mark.parametrize("line", ["p.write_text('x')", "f.savefig(path)", "np.savez(path, a=1)", "path.open('wb')", "h5py.File(p, 'w')"])
def test_the_search_finds_other_writers(line):
    assert writers(ast.parse(line)) and not writers(ast.parse(f"with atomic_write(p) as t:\n    {line}"))


# a full disk


def picture() -> object:
    return plot_pattern(pattern(thing((16, 16), 0), photons=1e4))


def solved(path: Path) -> None:
    p = pattern(thing((16, 16), 0), photons=1e4)
    write_result(path, image=wave((16, 16)).numpy(), support=lopsided((16, 16)).numpy(), pattern=p, process={"a": "b"})


OUTPUTS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: atomic_write_text(path, "x" * 5000),
    "result.cxi": solved,
    "object.cxi": lambda path: write_object(path, image=wave((32, 32)).numpy(), support=np.ones((32, 32)), process={}),
    "pattern.cxi": lambda path: write_pattern(path, pattern(thing((32, 32), 0), photons=1e5), process={}),
    "image.png": lambda path: write_image(path, np.random.default_rng(0).random((1, 64, 64))),
    "figure.pdf": lambda path: save_figure(picture(), path),  # pyright: ignore[reportArgumentType]
    "state.pt": lambda path: save_state(state(wave((16, 16), 0, 2), lopsided((16, 16))), path),
    "weights.safetensors": lambda path: weights.save(path, CdiNN().build(), CdiNN(), {}),
    "shard-00000.h5": lambda path: write(path.parent, "cells", 0, 4, shard=2, workers=1),
}


def limited(name: str, folder: Path, size: int, told) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        OUTPUTS[name](folder / name)
        told.put("written")
    except InputError as error:
        told.put(str(error))
    except BaseException as error:
        told.put(repr(error))


def child(target: Callable, *arguments: object) -> str:
    """What a forked child says, after it has ended well."""
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    process = context.Process(target=target, args=(*arguments, told))
    process.start()
    said = told.get(timeout=LIMIT)
    process.join(LIMIT)
    assert process.exitcode == 0, f"{said}; the child ended with {process.exitcode}"
    return said


@forks
@pytest.mark.parametrize("name", OUTPUTS)
def test_on_a_full_disk_what_was_there_stays_and_the_message_is_one_line(tmp_path, name):
    if name.startswith("shard"):
        OUTPUTS[name](tmp_path / name)
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(b"what was there")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    said = child(limited, name, tmp_path, 1500)
    assert said.startswith("cannot write ") and "\n" not in said and name in said
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert child(limited, name, tmp_path, 2**30) == "written", "the limit was what stopped it"


@pytest.mark.parametrize("moment", ["in the block", "at the rename"])
def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, moment):
    target = tmp_path / "a"
    atomic_write_bytes(target, b"old")
    if moment == "at the rename":
        monkeypatch.setattr(os, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), atomic_write(target) as temporary:
        temporary.write_bytes(b"ne")
        if moment == "in the block":
            1 / 0  # noqa: B018
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_a_file_reaches_the_disk_before_its_name(tmp_path, monkeypatch):
    """fsync of the file, rename, fsync of the folder: in this order, or a power cut tears it."""
    order = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda h: (order.append("folder" if os.path.isdir(f"/proc/self/fd/{h}") else "file"), sync(h)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), replace(a, b)))
    atomic_write_bytes(tmp_path / "a", b"x")
    assert order == ["file", "rename", "folder"] or not os.path.isdir("/proc/self/fd")


# places


def closed(folder: Path, told) -> None:
    if os.geteuid() == 0:
        os.setuid(65534)
    said = []
    for call in (lambda: require_writable(folder / "new"), lambda: atomic_write_text(folder / "a", "x")):
        try:
            call()
            said.append("fine")
        except InputError as error:
            said.append(str(error))
    told.put(" | ".join(said))


@forks
def test_a_folder_that_is_read_only_is_said_beforehand():
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o755)
        folder = Path(name) / "closed"
        folder.mkdir()
        folder.chmod(0o555)
        said = child(closed, folder)
        assert said.startswith(f"cannot write in {folder}; choose another folder | cannot write {folder / 'a'}: ")
        folder.chmod(0o777)
        assert child(closed, folder) == "fine | fine"


def test_places_that_cannot_be_are_refused_before_anything_is_computed(tmp_path):
    (tmp_path / "file").touch()
    for path, match in (
        (tmp_path / "file" / "x.png", "would lie in .*file, which is a file"),
        (tmp_path / "x.txt", "expected a name that ends in .png"),
        (tmp_path / "\0.png", "cannot write"),
        (tmp_path / ("n" * 300 + ".png"), "cannot write .*too long"),
    ):
        with pytest.raises(InputError, match=match):
            new_file(path, (".png", ".pdf"), False)
    (tmp_path / "there.png").touch()
    with pytest.raises(InputError, match=r"there.png exists; choose another name or overwrite=True \(--overwrite\)"):
        new_file(tmp_path / "there.png", (".png",), False)
    assert new_file(tmp_path / "there.png", (".png", ".pdf"), True) == tmp_path / "there.png"
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        new_file(tmp_path / "folder.png", (".png", ".pdf"), True)
    with pytest.raises(InputError, match=r"\d+ MB are needed for .*, \d+ MB are free"):
        require_writable(tmp_path / "r", needed=2**62)


def test_a_disk_that_will_be_full_is_said_before_the_computing(tmp_path, monkeypatch, capsys):
    write_pattern(tmp_path / "p.cxi", pattern(thing((32, 32), 0), photons=1e5), process={})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10_000))
    monkeypatch.setattr("untwin.reconstruct", lambda *_, **__: pytest.fail("it computes"), raising=False)
    with pytest.raises(SystemExit) as stop:
        main(["reconstruct", "p.cxi"])
    assert stop.value.code == 2 and "are needed for p_out, 0 MB are free" in capsys.readouterr().err and not Path("p_out").exists()


def test_a_checksum_finds_a_flipped_bit_in_a_result(tmp_path):
    """The compressed arrays carry a checksum (Adler's, by zlib): 12 bits flipped one after the other inside the object."""
    solved(tmp_path / "r.cxi")
    import h5py

    with h5py.File(tmp_path / "r.cxi") as file:
        at = file["/entry_1/image_1/data"].id.get_chunk_info(0)
    good = (tmp_path / "r.cxi").read_bytes()
    for i in range(12):
        bad = bytearray(good)
        bad[at.byte_offset + (i + 1) * at.size // 14] ^= 1 << (i % 8)
        (tmp_path / "r.cxi").write_bytes(bad)
        with pytest.raises(InputError, match="cannot be read as HDF5"):
            untwin.read_object(tmp_path / "r.cxi")
