"""A data set: sample i is a function of (recipe, seed, i), and a kill at any moment costs nothing that was complete."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import untwin
from events import LIMIT, dies, forks, until
from untwin.data.dataset import Manifest, Shards, read_manifest
from untwin.errors import InputError
from untwin.show.contact import contact_sheet
from untwin.simulate.crystals import Simulation
from untwin.simulate.dataset import Crystals, planned, write

RECIPE = "Simulation(Polygon(Between(4, 8)), (Waves(1.0), Dislocations(Between(0, 2))), (24, 20), 2.1, Detector(Total(1e4), beamstop=1.5))"
SOLID = "Simulation(Polyhedron(6), (Waves(1.0),), (12, 14, 16), 2.0, Detector(Total(1e5)))"
TENSORS = ("intensity", "measured", "image", "support")


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in TENSORS)


# made when asked for


def test_a_sample_does_not_depend_on_count_batch_or_order():
    few, many = Crystals(RECIPE, 3, count=8), Crystals(RECIPE, 3, count=1000)
    drawn = many.batch([7, 2, 900, 5])
    for row, i in enumerate([7, 2, None, 5]):
        if i is not None:
            assert all(torch.equal(getattr(drawn, name)[row], few[i][name]) for name in TENSORS)
            assert drawn.labels[row] == few.sample(i)["labels"]
    assert not torch.equal(few[0]["image"], few[1]["image"]) and not torch.equal(few[0]["image"], Crystals(RECIPE, 4)[0]["image"])


def test_indices_count_as_those_of_a_list():
    ds = Crystals(RECIPE, count=5)
    assert len(ds) == 5 and same(ds[-1], ds[4]) and same(ds[np.int64(2)], ds[torch.tensor(2)]) and len(list(ds)) == 5
    for i in (5, -6):
        with pytest.raises(IndexError):
            ds[i]
    with pytest.raises(TypeError):
        ds[1.0]


def test_what_a_sample_is():
    ds = Crystals(RECIPE, 1)
    sample = ds[0]
    assert {name: (t.dtype, tuple(t.shape)) for name, t in sample.items()} == {
        "intensity": (torch.float32, (24, 20)), "measured": (torch.bool, (24, 20)),
        "image": (torch.complex64, (24, 20)), "support": (torch.bool, (24, 20)),
    }  # fmt: skip
    assert not sample["measured"][0, 0] and sample["intensity"][0, 0] == 0, "FFT order: the beamstop is at index 0"
    assert sample["support"][12, 10] or sample["support"][10:15, 8:13].any(), "the object is in the middle"
    assert json.loads(json.dumps(ds.sample(0)["labels"])) == ds.sample(0)["labels"]
    pattern = ds.pattern(0)
    np.testing.assert_array_equal(pattern.intensity, sample["intensity"])
    assert pattern.source.centre == (12, 10) and pattern.asymmetry > 0.01


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create 2 worker:UserWarning")
def test_a_data_loader_with_workers_gives_the_same_samples():
    ds = Crystals(RECIPE, 5, count=10)
    batches = list(torch.utils.data.DataLoader(ds, batch_size=4, num_workers=2))
    assert [len(b["image"]) for b in batches] == [4, 4, 2]
    for i in range(10):
        assert same({name: batches[i // 4][name][i % 4] for name in TENSORS}, ds[i])


def test_it_can_be_split_and_pickled():
    ds = Crystals(RECIPE, 5, count=10)
    part = torch.utils.data.Subset(ds, [8, 3])
    copy = pickle.loads(pickle.dumps(ds))  # noqa: S301
    assert same(part[1], ds[3]) and same(copy[3], ds[3]) and copy == ds
    assert repr(Crystals("cells", 1, 2)) == "Crystals(recipe='cells', seed=1, count=2)"


def test_the_public_names_lead_there():
    assert untwin.simulate.Crystals is Crystals is untwin.simulate.Crystals
    assert untwin.simulate.Detector.__name__ == "Detector" and untwin.simulate.Waves.__name__ == "Waves"
    with pytest.raises(AttributeError, match="no attribute 'Cristals'"):
        untwin.simulate.Cristals  # noqa: B018


# written


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    """The files of 150 samples in shards of 70, written in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write(folder, RECIPE, 2, 150, shard=70)
    return content(folder)


def test_the_bytes_do_not_depend_on_the_workers_nor_a_sample_on_the_shards(tmp_path, undisturbed):
    told = []
    write(tmp_path / "two", RECIPE, 2, 150, shard=70, workers=2, report=lambda done, total: told.append((done, total)))
    assert content(tmp_path / "two") == undisturbed
    assert sorted(undisturbed) == ["manifest.json", "shard-00000.h5", "shard-00001.h5", "shard-00002.h5"]
    assert told[0] == (0, 150) and told[-1] == (150, 150) and told == sorted(told)
    write(tmp_path / "other", RECIPE, 2, 90, shard=33)
    a, b = Shards(tmp_path / "two"), Shards(tmp_path / "other")
    assert len(a) == 150 and len(b) == 90 and a.shape == (24, 20)
    for i in (0, 32, 33, 69, 70, 89):
        x, y = a[i], b[i]
        assert x["index"] == y["index"] == i and x["labels"] == y["labels"]
        assert all(np.array_equal(x[name], y[name]) for name in ("counts", "mask", "image", "support"))


@pytest.mark.parametrize("recipe", [RECIPE, SOLID])
def test_what_is_read_is_what_is_drawn(tmp_path, recipe):
    write(tmp_path, recipe, 2, 9, shard=4)
    shards, ds = Shards(tmp_path), Crystals(recipe, 2, 9)
    for i in (0, 4, -1):
        read, drawn = shards[i], ds.sample(i)
        np.testing.assert_array_equal(np.fft.ifftshift(read["counts"]), drawn["intensity"])
        np.testing.assert_array_equal(np.fft.ifftshift(read["mask"]) == 0, drawn["measured"])
        np.testing.assert_array_equal(read["image"], drawn["image"])
        np.testing.assert_array_equal(read["support"] != 0, drawn["support"])
        assert read["labels"] == drawn["labels"] and read["counts"].dtype == np.uint32
        np.testing.assert_array_equal(shards.pattern(i).intensity, ds.pattern(i).intensity)
    whole = shards.shard(1)
    assert (
        whole["index"] == [4, 5, 6, 7]
        and np.array_equal(whole["counts"][2], shards[6]["counts"])
        and whole["labels"][2] == ds.sample(6)["labels"]
    )
    with pytest.raises(IndexError):
        shards[9]


def test_a_set_without_noise_keeps_the_expected_counts_and_one_without_objects_is_smaller(tmp_path):
    quiet = RECIPE.replace("Total(1e4), ", "Total(1e4), noise=False, ")
    write(tmp_path / "quiet", quiet, 0, 3)
    read = Shards(tmp_path / "quiet")[1]
    assert read["counts"].dtype == np.float32
    np.testing.assert_array_equal(np.fft.ifftshift(read["counts"]), Crystals(quiet)[1]["intensity"])
    write(tmp_path / "bare", RECIPE, 0, 3, objects=False)
    bare = Shards(tmp_path / "bare")[1]
    assert set(bare) == {"counts", "mask", "index", "labels"}
    assert (tmp_path / "bare/shard-00000.h5").stat().st_size < (tmp_path / "quiet/shard-00000.h5").stat().st_size


def dying(moment: str, folder: Path) -> None:
    """Writes the data set, and kills itself at the moment: before or after the rename of the nth file, or in the middle of shard 1."""
    real, draw, renamed = os.replace, Simulation.draw, []

    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)

    def replace(a, b):
        if moment == f"before {len(renamed) + 1}":
            die()
        real(a, b)
        renamed.append(b)
        if moment == f"after {len(renamed)}":
            die()

    def middle(self, seed, indices, device="cpu"):
        return die() if moment == "middle" and 139 in indices else draw(self, seed, indices, device)

    os.replace, Simulation.draw = replace, middle  # in this process only, which is about to die
    write(folder, RECIPE, 2, 150, shard=70)


@forks
@pytest.mark.parametrize("moment", ["before 1", "after 1", "before 2", "after 2", "middle"])
def test_a_kill_at_any_moment_loses_and_doubles_nothing(tmp_path, undisturbed, moment):
    """File 1 is the manifest, file 2 the first shard."""
    assert dies(dying, moment, tmp_path) == -signal.SIGKILL
    left = content(tmp_path)
    assert all(undisturbed[name] == values for name, values in left.items() if name in undisturbed), "what has its name is complete"
    assert bool(set(left) - set(undisturbed)) == moment.startswith("before"), "a part of a file is left, or this test aims badly"
    write(tmp_path, RECIPE, 2, 150, shard=70)
    assert content(tmp_path) == undisturbed


DYING = """
import os, signal, sys
from untwin.simulate.dataset import write

def told(done, total):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)

write(sys.argv[1], sys.argv[2], 2, 150, shard=70, workers=2, report=told)
"""


def test_a_kill_with_workers_leaves_no_orphans_that_do_harm(tmp_path, undisturbed):
    """When the first shard of three is there, and both workers have another to write."""
    died = subprocess.run([sys.executable, "-c", DYING, str(tmp_path), RECIPE], stderr=subprocess.DEVNULL, timeout=LIMIT)
    assert died.returncode == -signal.SIGKILL
    write(tmp_path, RECIPE, 2, 150, shard=70)
    assert {name: values for name, values in content(tmp_path).items() if name in undisturbed} == undisturbed


def test_control_c_is_heard_where_python_would_lose_it(tmp_path, handlers):
    """An exception that is raised while a weak reference dies, as h5py's do all the time, goes nowhere."""
    handlers(signal.default_int_handler)
    reached = []

    def report(done: int, total: int) -> None:
        reached.append(done)
        if len(reached) == 2:
            dying = Manifest("", "", 0, 0, (), 0, False, {})
            reference = weakref.ref(dying, lambda _: signal.raise_signal(signal.SIGINT))
            del dying
            assert reference() is None

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, RECIPE, 2, 150, shard=70, report=report)
    assert len(reached) == 2 and sorted(content(tmp_path)) == ["manifest.json"]


def test_an_interruption_leaves_complete_shards_only(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done > 70:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, RECIPE, 2, 150, shard=70, report=interrupt)
    assert sorted(content(tmp_path)) == ["manifest.json", "shard-00000.h5"]
    with pytest.raises(
        InputError, match=r"not complete: 1 of 3 shards are there, shard-00001\.h5 is not; go on with: untwin simulate dataset -o"
    ):
        Shards(tmp_path)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"recipe": SOLID}, r"holds a data set with recipe Simulation\(Polygon"),
        ({"seed": 1}, "with seed 0, asked for was 1; choose another folder, or go on with: untwin simulate dataset"),
        ({"count": 4}, "with count 3, asked for was 4"),
        ({"shard": 2}, "with samples per shard 1024, asked for was 2"),
        ({"objects": False}, "with objects True, asked for was False"),
        ({"recipe": "crystal-2d"}, "did you mean crystals-2d"),
        ({"count": 0}, "count=0: expected a whole number, 1 or more"),
        ({"seed": -1}, "seed=-1: expected a whole number, 0 or more"),
        ({"workers": 0}, "workers=0: expected"),
        ({"shard": 0}, "shard=0: expected"),
    ],
)
def test_another_data_set_in_the_folder_and_impossible_ones_are_refused(tmp_path, change, match):
    write(tmp_path, RECIPE, 0, 3)
    before = content(tmp_path)
    with pytest.raises(InputError, match=match):
        write(tmp_path, **{"recipe": RECIPE, "seed": 0, "count": 3, **change})
    assert content(tmp_path) == before


def test_a_folder_with_something_else_and_other_versions_are_refused(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"thesis holds files and no manifest\.json; expected a new or empty folder"):
        write(tmp_path / "thesis", RECIPE, 0, 3)
    with pytest.raises(InputError, match="is a file; expected a folder"):
        write(tmp_path / "thesis" / "thesis.tex", RECIPE, 0, 3)
    folder = tmp_path / "old"
    write(folder, RECIPE, 0, 3)
    told = json.loads((folder / "manifest.json").read_text())
    told["versions"]["numpy"] = "1.0"
    (folder / "manifest.json").write_text(json.dumps(told))
    assert planned(folder, RECIPE, 0, 3).count == 3, "complete is complete"
    (folder / "shard-00000.h5").unlink()
    with pytest.raises(InputError, match="was begun with untwin .*, numpy 1.0, .* which may draw other samples"):
        write(folder, RECIPE, 0, 3)


def test_a_damaged_data_set_is_a_clear_error(tmp_path):
    with pytest.raises(InputError, match=r"no manifest\.json in .*; expected a folder that untwin simulate dataset has written"):
        Shards(tmp_path)
    write(tmp_path, RECIPE, 0, 6, shard=3)
    (tmp_path / "shard-00000.h5").replace(tmp_path / "shard-00001.h5")
    (tmp_path / "shard-00000.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    shards = Shards(tmp_path)
    with pytest.raises(InputError, match=r"shard-00000\.h5 cannot be read as a shard"):
        shards[0]
    with pytest.raises(InputError, match=r"is not shard 1 of this data set; remove it"):
        shards[3]
    told = json.loads((tmp_path / "manifest.json").read_text())
    for text in ("{", "[]", json.dumps({**told, "count": "9"}), json.dumps({**told, "format": "x"}), json.dumps({**told, "more": 1})):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(InputError, match="is not the manifest of a data set"):
            read_manifest(tmp_path)


def test_a_shard_is_plain_hdf5(tmp_path):
    manifest = write(tmp_path, RECIPE, 2, 5)
    assert isinstance(manifest, Manifest) and manifest == read_manifest(tmp_path) and manifest.recipe == RECIPE
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        assert {name: (d.shape, d.dtype.kind) for name, d in file.items()} == {
            "counts": ((5, 24, 20), "u"), "mask": ((5, 24, 20), "u"), "image": ((5, 24, 20), "c"), "support": ((5, 24, 20), "u"),
            "index": ((5,), "i"), "labels": ((5,), "S"),
        }  # fmt: skip
        assert file.attrs["seed"] == 2 and file.attrs["recipe"] == manifest.text
        assert file["mask"][0, 12, 10] == 1 and file["counts"][0, 12, 10] == 0


@pytest.mark.parametrize("recipe, objects", [(RECIPE, True), (RECIPE, False), (SOLID, True)])
def test_a_contact_sheet_has_a_picture_of_every_sample(tmp_path, recipe, objects):
    write(tmp_path, recipe, 0, 5, objects=objects)
    shards = Shards(tmp_path)
    sheet = contact_sheet([shards[i] for i in range(5)], "five", columns=3)
    drawn = [axis for axis in sheet.axes if axis.get_title(loc="left")]
    assert len(drawn) == 5 and all(len(axis.images) == (1 + objects) * (1 if len(shards.shape) == 2 else 3) for axis in drawn)
    sheet.savefig(tmp_path / "sheet.png")


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are a matter of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_ends_the_command_with_130_and_leaves_nothing_half_written(tmp_path, number):
    command = [sys.executable, "-m", "untwin", "simulate", "dataset", "-o", "ds", "--recipe", RECIPE, "--count", "100000", "--shard", "100"]
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 (also where this process is in the background)
    process = subprocess.Popen(
        [*command, "--workers", "2"], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heard
    )
    until(lambda: len(list((tmp_path / "ds").glob("shard-*.h5"))) >= 2 or process.poll() is not None, "two shards are there")
    os.killpg(process.pid, number)  # as a terminal or a batch system does
    _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, said
    assert len(list((tmp_path / "ds").glob("shard-*.h5"))) < 500, "it ended because it was asked to, long before its work was done"
    # one time of some tens loky's tracker of semaphores hears of one that is gone already, after the command has ended, and says so
    others = (" per second, ", "resource_tracker", "warnings.warn(")
    lines = [line for line in said.splitlines() if not any(text in line for text in others)]
    assert lines == ["untwin: interrupted; complete shards stay; the same command goes on"]
    assert not [p for p in (tmp_path / "ds").iterdir() if p.name.startswith(".")]


def test_crystals_are_a_torch_dataset():
    import pickle

    from torch.utils.data import Dataset

    ds = Crystals("cdi-nn", seed=1, count=3)
    assert isinstance(ds, Dataset) and len(ds + ds) == 6 and repr(ds).startswith("Crystals(")
    assert pickle.loads(pickle.dumps(ds)) == ds  # noqa: S301
