"""The command line of rocking scans: what is simulated for a beamline is prepared by the command that is printed, and bad input has one
clear message, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from untwin import cli
from untwin.bragg.scan import Scan
from untwin.data.read import read
from untwin.simulate.beamline_files import WRITERS, write_scan
from untwin.simulate.scan import RockingScan

SMALL = {"size": 150e-9, "window": (64, 64), "frames": 51, "seed": 3}
TYPED = "--size 64,64 --diameter 150 --frames 51 --seed 3"
KEYS = [key for key in WRITERS if key != "id01-spec"]


def run(capsys, line: str) -> tuple[object, str, str]:
    """(exit code, output, errors) of a command."""
    with pytest.raises(SystemExit) as stop:
        cli.main(shlex.split(line))
        raise SystemExit(0)
    seen = capsys.readouterr()
    return stop.value.code, seen.out, seen.err


@pytest.mark.parametrize("key", KEYS)
def test_the_command_that_a_simulated_scan_names_reads_its_peak_and_geometry(key, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, f"simulate scan -o raw --beamline {key} {TYPED}")
    command = re.fullmatch(r"next: untwin bragg (raw.*)", out.strip().splitlines()[-1])
    assert code == 0 and command
    for option in re.findall(r" --\S+ \S+", command[1]):  # none too many
        assert run(capsys, f"prepare {command[1].replace(option, '')} -o raw.cxi")[0] == 2
    code, out, err = run(capsys, f"prepare {command[1]} -o raw.cxi")
    assert code == 0, err
    said = read(tmp_path / "raw.cxi").warnings  # of the scan, too, such as its beamline
    assert said and all(f"note: {sentence}" in err for sentence in said)
    recipe = RockingScan(key, **SMALL)
    frame, row, column = recipe.peak
    assert f"The peak is at ({frame}, {row:.0f}, {column:.0f})" in out
    instrument = recipe.instrument()
    if "direct beam falls is not known" in err:
        instrument = replace(instrument, direct_beam=(np.nan, np.nan)).aimed(row, column)
    binning = re.search(r"Binning: (\d)", out)
    true = instrument.geometry(frame, row, column, (int(binning[1]) if binning else 1, 1, 1))
    ours = read(tmp_path / "raw.cxi").geometry
    assert ours is not None and ours.q is not None and ours.sampling is not None and true.q is not None
    np.testing.assert_allclose(np.asarray(ours.q), np.asarray(true.q), rtol=0, atol=1e-9 * float(np.linalg.norm(true.q)))
    for got, expected in zip(ours.sampling, np.asarray(true.sampling)):
        np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=1e-9 * float(np.linalg.norm(expected)))


# Bad input


def write(name: str, scan: Scan, values: np.ndarray | None = None, **changes) -> Path:
    """A folder of 34-ID-C, with other frames or fields of the scan, or other values of the instrument."""
    instrument = {k: changes.pop(k) for k in ("sample", "detector", "energy") if k in changes}
    scan = replace(scan, instrument=replace(scan.instrument, **instrument), **changes)
    if values is not None:
        scan = replace(scan, frames=replace(scan.frames, shape=values.shape, dtype=values.dtype, load=values.__getitem__))
    return write_scan(Path(name), "34idc", scan)[0]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Scans each with one fault, in one folder."""
    root = tmp_path_factory.mktemp("scans")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        scan = RockingScan("34idc", **SMALL).draw()[0]
        plain = replace(scan, flat=None, dark=None)
        i, frames = scan.instrument, np.array([scan.frames.load(k) for k in range(51)])
        write("good", scan)
        write("another", replace(plain, monitor=None), frames[:, ::-1] // 2)
        shutil.copytree("good", "wronglog")
        shutil.copy("another/sample.spec", "wronglog/sample.spec")
        shutil.copytree("good", "fewframes")
        for file in sorted(Path("fewframes/sample_S0012").iterdir())[2:]:
            file.unlink()
        shutil.copytree("good", "gone")
        for file in sorted(Path("gone/sample_S0012").iterdir())[22:25]:
            file.unlink()
        write("still", plain, sample=np.tile(i.sample[0], (51, 1)))
        write("unit", plain, energy=1e6 * i.energy)
        write("flatshape", scan, flat=np.random.default_rng(0).uniform(0.7, 1.3, (60, 100)).astype(np.float32))
        write("edge", plain, np.roll(frames, 24, 1))
        begun = {"sample": i.sample[20:], "detector": i.detector[20:], "energy": i.energy[20:]}
        write("begun", replace(plain, monitor=None), frames[20:], **begun)
        write("nopeak", plain, np.random.default_rng(0).poisson(0.03, frames.shape).astype(np.int32))
        write("dark", plain, np.zeros_like(frames))
        write("two", plain, frames + np.roll(frames, (8, -22, 20), (0, 1, 2)))
        for name in ("empty", "noframes", "nolog", "exists"):
            Path(name).mkdir()
        shutil.copy("good/sample.spec", "noframes")
        shutil.copytree("good/sample_S0012", "nolog/sample_S0012")
        Path("exists/notes.txt").write_text("mine")
        Path("exists.cxi").write_text("mine")
        circle = '[[sample]]\nname = "Theta"\naxis = "y+"\n'
        Path("hand.toml").write_text(f'rows = "y-"\ncolumns = "x+"\npicture = "as seen from the sample"\n{circle}', encoding="utf-8")
    return root


# the command, what its message says
REJECTED = [
    ("prepare gone -o out.cxi", r"frames 22 to 24, within the peak, are missing or without beam; expected the middle of the peak"),
    ("bragg fewframes -o out", r"2 files are frames .*; a scan has at least 3"),
    ("bragg wronglog -o out", r"sample\.spec is the log of another scan: 0 of 51 frames have their sum in it"),
    ("bragg still -o out", r"neither an angle nor the energy changes .*Is this the right scan"),
    ("bragg unit -o out", r"9e\+06 .*expected 1 to 200 keV\. In the wrong unit\? energy='9keV' \(--energy 9keV\)"),
    ("bragg good -o out --energy 9", r"energy=9: 9 eV is no energy of X-rays; .*such as 9keV"),
    ("bragg good -o out --energy 9MeV", r"expected 1 to 200 keV"),
    ("prepare flatshape -o out.cxi", r"the flat has shape \(60, 100\), the frames \(64, 64\); expected that of a frame"),
    ("bragg good -o out --mask good/dark.tif", r"the mask has shape \(512, 512\), the frames \(64, 64\)"),
    ("bragg edge -o out", r"the peak .* is 4 rows from the edge of 64: .*move the detector"),
    ("bragg begun -o out", r"the peak .* is 4 frames from the edge of 31: .*scan further"),
    ("bragg nopeak -o out", r"no peak was found .*Expected at least 100"),
    ("bragg dark -o out", r"nothing was counted in the 51 frames"),
    ("bragg two -o out", r"there are two peaks, at .*choose one with centre= \(--centre\)"),
    ("bragg good -o out --beamline id02", r"beamline 'id02' is not known; known are 34idc, .*Did you mean id27\?"),
    ("bragg good -o out --geometry hand.toml", r"hand\.toml: its handedness contradicts itself"),
    ("geometry hand.toml", r"hand\.toml: its handedness contradicts itself"),
    ("bragg noframes -o out", r"0 files are frames .*a scan has at least 3"),
    ("bragg nolog -o out", r"no log \(spec, fio\) says where the frames were taken"),
    ("bragg empty -o out", r"empty is an empty folder; expected that of a scan"),
    ("bragg nothere -o out", r"nothere does not exist"),
    ("bragg -o out", r"no scan given; expected untwin bragg SCAN"),
    ("bragg good -o exists", r"exists exists and is not empty; choose another folder"),
    ("bragg good -o exists.cxi", r"exists\.cxi is a file; expected a folder"),
    ("prepare good -o exists.cxi", r"exists\.cxi exists; choose another name"),
    ("prepare good -o out.txt", r"cannot write out\.txt; expected a name that ends in \.cxi"),
    ("simulate scan -o exists", r"exists exists and is no empty folder"),
    ("bragg good -o out --number 99", r"sample\.spec has no scan 99; it has 12"),
    ("bragg good -o out --number x", r"number=x: expected the number of a scan"),
    ("bragg good -o out --number 12,", r"number 12, : expected each once"),
    ("bragg good -o out --number 12,12", r"number 12, 12: expected each once"),
    ("bragg good good -o out", r"scan good, good: expected each once"),
    ("bragg good -o out --crop nan,1,1", r"crop=nan,1,1: expected 3 whole numbers"),
    ("bragg good -o out --crop 16.5,16,16", r"crop=16\.5,16,16: expected 3 whole numbers"),
    ("bragg good -o out --crop 900,16,16", r"crop 900×16×16 is larger than the scan of 51×64×64"),
    ("bragg good -o out --centre inf,1,1", r"centre=inf,1,1: expected 3 numbers"),
    ("bragg good -o out --centre 900,10,10", r"centre \(900, 10, 10\) is outside the scan"),
    ("bragg good -o out --direct-beam nan,1", r"direct_beam=nan,1: expected 2 numbers"),
    ("bragg good -o out --starts 0", r"starts = 0: input should be greater than or equal to 1"),
    ("bragg good -o out --device tpu", r"no device 'tpu'"),
    ("bragg good -o out --second 0,0,0", r"second=0,0,0: expected a direction"),
    ("bragg good -o out --limit -1", r"limit=-1\.0: expected a number above 0"),
    ("bragg good -o out --second {q}", r"second=[-\d.e+]+,[-\d.e+]+,[-\d.e+]+ is along q; expected a direction across it"),
    ("strain good", r"no result\.cxi in good"),
]


@pytest.mark.parametrize(("line", "expected"), REJECTED, ids=[line for line, _ in REJECTED])
def test_bad_input_has_one_message_and_exit_code_2_and_leaves_nothing(line, expected, folders, monkeypatch, capsys):
    monkeypatch.chdir(folders)
    before = sorted(folders.rglob("*"))
    code, _, err = run(capsys, line.format(q=",".join(f"{v:.6g}" for v in RockingScan("34idc", **SMALL).crystal().q)))
    message = [text for text in err.splitlines() if not text.startswith("note: ")]
    assert code == 2 and len(message) == 1 and message[0].startswith("untwin: "), err
    assert re.search(expected, message[0]), message[0]
    assert sorted(folders.rglob("*")) == before
