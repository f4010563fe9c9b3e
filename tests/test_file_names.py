"""A file whose name is not UTF-8 is a file like any other; what no text can name is repeated from the result beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from nexus_files import counts, stripe
from untwin import cli
from untwin.data.typed import typed

I = counts((32, 32))


def untwin(folder, *arguments: str) -> str:
    return subprocess.run([sys.executable, "-m", "untwin", *arguments], cwd=folder, capture_output=True, check=True).stdout.decode(
        errors="replace"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("which", ["file", "mask"])
def test_a_name_that_is_not_utf8_is_phased_and_repeated_from_its_result(tmp_path, which):
    names = {"file": "p.npy", "mask": "m.npy"}
    names[which] = os.fsdecode(b"x\xff.npy")
    with open(tmp_path / names["file"], "wb") as file:
        np.save(file, I)
    with open(tmp_path / names["mask"], "wb") as file:
        np.save(file, stripe(30, I.shape))
    untwin(tmp_path, "inspect", names["file"], "--mask", names["mask"])
    options = ["--recipe", "3*ER", "--starts", "1", "--workers", "1"]
    untwin(tmp_path, "reconstruct", names["file"], "--mask", names["mask"], *options, "-o", "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "figures",
        "live",
        "report.html",
        "result.cxi",
        "run.toml",
        "summary.json",
    ]
    assert 'file = "result.cxi"' in (tmp_path / "out/run.toml").read_text(encoding="utf-8")
    untwin(tmp_path, "reconstruct", "--config", "out/run.toml", "-o", "again")
    assert "error after alignment 0.0000" in untwin(tmp_path, "compare", "out", "again")


NAMES = [
    "-x.npy",
    "--mask.npy",
    "-h",
    "~tilde.npy",
    "a\nb.npy",
    "a\tb'c.npy",
    "it's $HOME.npy",
    "\x1b[31mred.npy",
    "back\\slash\n.npy",
    "a::b.npy",
]
bash = pytest.mark.skipif(shutil.which("bash") is None or sys.platform != "linux", reason="what a shell makes of a name is asked of bash")


def words(line: str) -> list[str]:
    """The arguments that bash takes from a line that is pasted into it."""
    out = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout
    return os.fsdecode(out).split("\0")[:-1]


@bash
def test_a_name_comes_back_from_the_shell_as_it_was_and_is_no_option():
    for name in [*NAMES, os.fsdecode(b"x\xff.npy"), "plain.npy", "/a/-b"]:
        assert words(typed(name)) in ([name], [f"./{name}"]) and not typed(name).startswith("-") and typed(name).isprintable()
    assert typed("scan_0042.cxi") == "scan_0042.cxi"


@bash
@pytest.mark.parametrize("name", NAMES)
def test_the_next_command_works_as_it_is_pasted(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    for file, array in ((name, I), (f"{name}m", stripe(30, I.shape))):
        with open(file, "wb") as stream:
            np.save(stream, array)

    def inspected(*arguments: str) -> dict[str, str]:
        """The rows by their names."""
        with pytest.raises(SystemExit) as stop:
            cli.main(["inspect", *arguments])
        out, err = capsys.readouterr()
        assert stop.value.code in (0, None), err
        assert all(line.isprintable() for line in (out + err).splitlines())
        return {line[:13].strip(): line[15:] for line in out.splitlines()}

    first = inspected(f"./{name}", "--mask", f"./{name}m", "--offset", "-2.5", "--values", "intensity")
    command, word, *arguments = words(first["next"])
    assert (command, word) == ("untwin", "reconstruct") and "--offset=-2.5" in arguments
    assert inspected(*arguments) == first


@bash
def test_a_run_is_gone_on_with_by_the_command_that_is_printed(tmp_path, monkeypatch, capsys):
    from untwin.runs.checkpoint import Checkpoint

    monkeypatch.chdir(tmp_path)
    Checkpoint(tmp_path / "-out/checkpoint", {"command": "reconstruct"}).begin({})
    np.save("p.npy", I)
    with pytest.raises(SystemExit):
        cli.main(["reconstruct", "p.npy", "-o", "./-out"])
    assert "go on with: untwin reconstruct --resume ./-out, or" in capsys.readouterr().err
