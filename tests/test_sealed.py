"""Files that are complete, old or new, whatever moment a process dies at."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import untwin
from events import LIMIT
from untwin.data import checksummed
from untwin.data.checksummed import BEFORE, SEAL, before, read, write
from untwin.errors import CheckpointWarning, InputError

SIZE = 300_000
WRITER = """
import os, signal, sys
from pathlib import Path
from untwin.data import atomic, checksummed

target, moment, wanted = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
assert "torch" not in sys.modules and "numpy" not in sys.modules
replace, fsync, opened, seen = os.replace, os.fsync, Path.open, []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def count(name):  # the version that is wanted is the one that dies
    seen.append(name)
    if name == moment and version == wanted:
        die()

def replaced(a, b):
    name = "old" if str(b).endswith(checksummed.BEFORE) else "new"
    count(f"before {name}")
    replace(a, b)
    count(f"after {name}")

def flushed(handle):
    count("before flush")
    fsync(handle)

def fill(file):
    count("before write")
    content = version.to_bytes(4, "big") * (SIZE // 4)
    file.write(content[: SIZE // 2])
    file.flush()
    count("middle")
    file.write(content[SIZE // 2 :])

os.replace, os.fsync = replaced, flushed
version = int.from_bytes(checksummed.read(target)[:4], "big") if target.exists() or checksummed.before(target).exists() else 0
while True:
    version += 1
    checksummed.write(target, fill)
    print(version, flush=True)
""".replace("SIZE", str(SIZE))
MOMENTS = ["before write", "middle", "before flush", "before old", "after old", "before new", "after new"]


def writing(target: Path, moment: str = "never", version: int = 0) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": str(Path(untwin.__file__).parents[1])}
    command = [sys.executable, "-c", WRITER, str(target), moment, str(version)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def told(process: subprocess.Popen) -> int:
    """The last version that the dead writer had finished, as far as it could say so."""
    with process.stdout as said:
        return max((int(line) for line in said.read().split()), default=0)


def whole(target: Path) -> int:
    """The version in the file: every file of the two is as it was written, or not there; without any warning."""
    for path in (target, before(target)):
        if path.exists():
            content = path.read_bytes()
            assert content[-32:] == hashlib.sha256(content[: -32 - len(SEAL)]).digest() and len(content) == SIZE + len(SEAL) + 32
    content = read(target)
    assert content is not None and content == content[:4] * (SIZE // 4)
    return int.from_bytes(content[:4], "big")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_at_this_moment_leaves_the_old_file_or_the_new_one(tmp_path, moment):
    target, version = tmp_path / "file", 0
    for wanted in (2, 5, 6, 8):
        process = writing(target, moment, wanted)
        assert process.wait(LIMIT) == -signal.SIGKILL
        version = whole(target)
        assert version == (wanted if moment == "after new" else wanted - 1) and version >= told(process)


def test_kills_at_random_moments_tear_nothing_and_lose_nothing(tmp_path):
    target, dice, known = tmp_path / "file", random.Random(1), 0
    for _ in range(25):
        process = writing(target)
        for _ in range(dice.randint(1, 6)):
            process.stdout.readline()
        process.kill()
        process.wait()
        version = whole(target)
        assert version >= max(known + 1, told(process))
        known = version


def test_what_was_damaged_since_is_seen_and_the_version_before_is_used(tmp_path):
    target = tmp_path / "file"
    assert read(target) is None
    for content in (b"one", b"two"):
        write(target, lambda file, content=content: file.write(content))
    assert read(target) == b"two" and before(target).name == "file" + BEFORE
    content = bytearray(target.read_bytes())
    content[1] ^= 1
    target.write_bytes(content)
    with pytest.warns(CheckpointWarning, match="file is damaged; the one before it is used"):
        assert read(target) == b"one"
    before(target).write_bytes(b"")
    with pytest.raises(InputError, match="is damaged .* and there is no older one"):
        read(target)


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "file"
    write(target, lambda file: file.write(b"one"))

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checksummed.os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write(target, lambda file: file.write(b"two"))
    assert read(target) == b"one" and [p.name for p in tmp_path.iterdir()] == ["file"]
