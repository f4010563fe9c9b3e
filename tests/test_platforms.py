"""What other systems lack, taken away here: no test of this file shows that untwin works there (docs/platforms.md)."""

from __future__ import annotations

import fcntl
import io
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from untwin import cli, doctor, processes
from untwin.data import atomic
from untwin.live import files, watched
from untwin.runs import memory


def without(*names: str, **others: object) -> SimpleNamespace:
    """The module os as another system has it."""
    return SimpleNamespace(**{n: v for n, v in vars(os).items() if n not in names} | others)


def test_the_cores_are_those_that_a_quota_leaves(monkeypatch):
    from loky.backend import context

    assert 1 <= processes.cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(context, "_cpu_count_cgroup", lambda machine: 1)
    assert processes.cores() == 1


def test_the_cores_are_those_that_the_user_leaves(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert processes.cores() == 1


def test_a_file_is_flushed_where_only_a_writer_may_flush(tmp_path, monkeypatch):
    """Windows: FlushFileBuffers."""
    flushed = []

    def flush(handle: int) -> None:
        assert fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        flushed.append(handle)

    monkeypatch.setattr(atomic, "os", without(name="nt", fsync=flush))
    atomic.atomic_write_bytes(tmp_path / "a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1" and len(flushed) == 1  # of the file; a folder has no handle


def test_nobody_sends_a_signal_where_zero_is_one(tmp_path, monkeypatch):
    """Windows: signal 0 is CTRL_C_EVENT, and would end the run that is looked at."""
    monkeypatch.setattr(watched, "os", without(name="nt", kill=lambda *of: pytest.fail("a signal was sent")))
    status = {"format": 1, "state": "running", "pid": os.getpid(), "process": "", "host": watched.platform.node(), "beat": 1}
    files.write_json(tmp_path / files.FOLDER / files.STATUS, {**status, "updated": watched.time.time()})
    assert watched.Watched(tmp_path).status()["state"] == "running"
    files.write_json(tmp_path / files.FOLDER / files.STATUS, {**status, "updated": watched.time.time() - 2 * watched.LONG_AGO})
    assert watched.Watched(tmp_path).status()["state"] == "lost"


@pytest.mark.parametrize("error", [TypeError, OSError, AttributeError])
def test_blocks_are_left_to_a_system_that_is_not_glibc(error, monkeypatch):
    def refuse(name: object) -> None:
        raise error

    monkeypatch.setattr(processes.ctypes, "CDLL", refuse)
    processes.keep_freed_blocks.__wrapped__()


def test_where_the_system_does_not_say_how_much_memory_it_has_nothing_is_refused(monkeypatch):
    def nowhere(path: object, *of: object, **more: object) -> str:
        raise FileNotFoundError(str(path))

    monkeypatch.setattr(memory, "os", without("sysconf", "sysconf_names"))
    monkeypatch.setattr(memory.Path, "read_text", nowhere)
    assert memory.memory_of_machine() is None and memory.available() is None and memory._resident() == 0


def test_the_doctor_looks_at_a_machine_that_does_not_say_how_much_memory_it_has(monkeypatch):
    monkeypatch.setattr(memory, "os", without("sysconf", "sysconf_names"))
    monkeypatch.setattr(doctor, "_speed", lambda shape, starts=1: "fast")
    assert dict(doctor.findings())["CPU"].endswith("cores")


def test_the_doctor_names_each_part_of_the_extra_detector_that_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "_speed", lambda shape, starts=1: "fast")
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name == "fabio" else object())
    found = dict(doctor.findings())
    assert "untwin[detector]" in found["CBF"] and "is installed" in found["HDF5 filters"]


def test_a_letter_that_a_pipe_does_not_have_is_no_bug(tmp_path, monkeypatch):
    """A file whose name is in Cyrillic, and stdout as Windows has it behind a pipe."""
    np.save(tmp_path / "кристалл.npy", np.random.default_rng(0).poisson(50, (16, 16)))
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", newline="")
    monkeypatch.setattr(sys, "stdout", pipe)
    with pytest.raises(SystemExit) as end:
        cli.main(["inspect", str(tmp_path / "кристалл.npy")])
    pipe.flush()
    assert end.value.code in (0, None)
    text = pipe.buffer.getvalue().decode("cp1252")  # type: ignore[attr-defined]
    assert "\\u043a\\u0440" in text and "16 x 16" in text
