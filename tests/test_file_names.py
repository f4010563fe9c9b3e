"""A file whose name is not UTF-8 is a file like any other; what no text can name is repeated from the result beside it."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from nexus_files import counts, stripe

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
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["figures", "report.html", "result.cxi", "run.toml", "summary.json"]
    assert 'file = "result.cxi"' in (tmp_path / "out/run.toml").read_text(encoding="utf-8")
    untwin(tmp_path, "reconstruct", "--config", "out/run.toml", "-o", "again")
    assert "error after alignment 0.0000" in untwin(tmp_path, "compare", "out", "again")
