"""The command line: every bad input has one clear message, exit code 2, nothing half-written, and costs no torch."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from untwin import cli, config
from untwin.data.dataset import Shards, manifest_text, read_manifest
from untwin.data.read import read, read_object
from untwin.errors import InputError, NumericalFailure
from untwin.simulate import shapes
from untwin.simulate.crystals import crystal
from untwin.simulate.dataset import Crystals, planned, write
from untwin.simulate.detector import measure

GOOD = np.random.default_rng(0).poisson(20, (32, 32)).astype(np.float32)

# Runs all the commands of a file in this one process: code, output, what it has written, and whether torch was needed.
RUNNER = """
import contextlib, io, json, os, sys
from untwin.cli import main

def files():
    return sorted(os.path.join(folder, name) for folder, folders, names in os.walk(".") for name in folders + names)

done = []
for arguments in json.load(open(sys.argv[1])):
    out, err, code, before = io.StringIO(), io.StringIO(), "no exit", files()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stop:
            code = stop.code
        except BaseException as error:
            code = repr(error)
    new = [name for name in files() if name not in before]
    done.append({"code": code, "out": out.getvalue(), "err": err.getvalue(), "new": new, "torch": "torch" in sys.modules})
print(json.dumps(done))
"""

# the command, what its message says: what came, what was expected, what to try
REJECTED = [
    ("reconstruct", r"no pattern given; expected untwin reconstruct FILE"),
    ("reconstruct missing.npz", r"missing\.npz does not exist\. Check the path"),
    ("reconstruct god.npz", r"god\.npz does not exist\. Did you mean good\.npz\?"),
    ("reconstruct folder", r"folder is a folder without frames .*; expected a stack of them, or a file"),
    ("reconstruct text.h5", r"text\.h5 is text without a table.*starts with b'hello world.*Readable: CXI, HDF5.*TIFF"),
    ("reconstruct empty.cxi", r"empty\.cxi is empty \(0 bytes\); copy it again"),
    ("reconstruct good.npz --data intensty", r"no dataset intensty\. Did you mean intensity\?"),
    ("reconstruct tree.h5 --data /entry/other", r"no dataset /entry/other\..*It holds /entry/m4 \(32×32, float32\)"),
    ("reconstruct two.npz", r"2 arrays that could be the intensity: a \(32×32, float32\), b .*data=NAME"),
    ("reconstruct line.npy", r"has 1 axes \(32\); expected a 2D image or a 3D volume"),
    ("reconstruct four.npy", r"4 axes \(2×3×16×16\): 2 volumes\? Expected 2D or 3D; take one with frames=4"),
    ("reconstruct nan.npy", r"1024 pixels \(100 %\) are NaN.*choose another array"),
    ("reconstruct zero.npy", r"is 0 in every pixel: no diffraction, nothing was measured; choose another"),
    ("reconstruct negative.npy", r"nowhere above 0, down to -\d+; expected an intensity"),
    ("reconstruct good.npz --mask mask16.npy", r"the mask has shape \(16, 16\), intensity in good\.npz \(32, 32\); crop or pad"),
    ("reconstruct good.npz --mask nomask.npy", r"nomask\.npy is neither a file nor an array in good\.npz; check its path"),
    ("reconstruct good.npz --mask ones.npy", r"marks every pixel .* invert"),
    ("reconstruct good.npz --centre 16", r"centre has 1 coordinate, the pattern 2 axes \(32, 32\); give one per axis"),
    ("reconstruct good.npz --centre 16,40", r"centre \(16, 40\) is outside the pattern \(32, 32\)"),
    ("reconstruct good.npz --centre 16,x", r"centre\.1 = 'x': input should be a valid number"),
    ("reconstruct good.npz --recipe 20*ER+180*HOI", r"unknown name 'HOI' in the recipe; did you mean HIO\?"),
    ("reconstruct good.npz --recipe 20*HIO(betta=0.9)", r"HIO has no setting 'betta'; did you mean beta\?"),
    ("reconstruct good.npz --recipe 20*HIO(beta=1.5)", r"HIO\(beta=1\.5\): expected a number above 0 and at most 1"),
    ("reconstruct good.npz --recipe 20*(ER", r"cannot read the recipe '20\*\(ER'.*write it as"),
    ("reconstruct good.npz --recipe 3", r"'3' is not a recipe; expected steps such as"),
    ("reconstruct good.npz --recipe=", r"cannot read the recipe ''.*write it as"),
    ("reconstruct good.npz --starts 0", r"starts = 0: input should be greater than or equal to 1"),
    ("reconstruct good.npz --starts many", r"--starts: unable to convert .*many.* into int"),
    ("reconstruct good.npz --seed -1", r"seed = -1: input should be greater than or equal to 0"),
    ("reconstruct good.npz --workers 0", r"workers = 0: input should be greater than or equal to 1"),
    ("reconstruct good.npz --output full", r"full exists and is not empty; choose another folder or overwrite=True \(--overwrite\)"),
    ("reconstruct good.npz --output line.npy", r"line\.npy is a file; expected a folder"),
    ("reconstruct good.npz --output line.npy/below", r"below would lie in .*line\.npy, which is a file; choose another"),
    ("reconstruct good.npz --overwrite --output line.npy", r"line\.npy is a file; expected a folder"),
    ("reconstruct good.npz --strats 3", r"Unknown option: --strats\. Did you mean --starts\?"),
    ("reconstruct good.npz more.npz", r"more\.npz does not exist"),
    ("reconstruct --config unknown.toml", r"unknown setting 'stats' in unknown\.toml; did you mean starts\?"),
    ("reconstruct --config types.toml", r"recipe = 3: input should be a valid string; starts = 'many': input should be a valid integer"),
    ("reconstruct --config broken.toml", r"broken\.toml is not TOML \(.*line 1.*\); a run\.toml lies in every result folder"),
    ("reconstruct --config text16.toml", r"text16\.toml is not TOML"),
    ("reconstruct --config none.toml", r"no file none\.toml; a run\.toml lies in every result folder"),
    ("reconstruct --config folder", r"Is a directory: folder; check the path"),
    ("reconstruct good.npz --support support16.npy", r"support16\.npy has shape \(16, 16\), the pattern \(32, 32\).*crop or pad"),
    ("reconstruct good.npz --support zero.npy", r"the support array in zero\.npy is empty; expected 1 inside"),
    ("reconstruct good.npz --support ones.npy", r"covers the whole array; expected 0 outside"),
    (
        "reconstruct complex.npz --positivity",
        r"positivity needs a real object.*differs from its mirror image by 0\.\d\d.*Leave positivity out",
    ),
    (
        "compare object16.npz object32.npz",
        r"object16\.npz holds an object of shape \(16, 16\), object32\.npz of \(32, 32\); expected the same",
    ),
    ("compare object16.npz none.npz", r"none\.npz does not exist"),
    ("compare object16.npz object16.npz --picture x.zzz", r"cannot write x\.zzz; expected a name that ends in \.png"),
    ("report folder", r"no result\.cxi in folder; expected a folder that untwin reconstruct has written"),
    ("report good.npz", r"good\.npz is not a result of untwin"),
    ("inspect", r"inspect.*requires an argument"),
    ("inspect text.h5", r"text\.h5 is text without a table"),
    ("inspect good.npz --picture x.zzz", r"cannot write x\.zzz; expected a name that ends in \.png"),
    ("demo --output full", r"full exists and is not empty"),
    ("demo --seed -1", r"Invalid value .*-1.* for --seed\. Must be >= 0"),
    ("simulate crystal -o new.cxi --size 64,x", r"--size 64,x: expected whole numbers, slowest axis first, such as 64,64"),
    ("simulate crystal -o new.cxi --size 64", r"shape \(64,\): expected two or three sizes, such as 64,64"),
    ("simulate crystal -o new.cxi --size 8,8", r"an array of 8 x 8 at an oversampling.*Expected are 6 at least: take a larger size"),
    ("simulate crystal -o new.cxi --photons -1", r"photons.*-1.*expected a number, 1 to"),
    ("simulate crystal -o new.cxi --coherence -0.3", r"coherence=-0\.3\): expected a number, 0 or more"),
    ("simulate crystal -o new.cxi --background -1", r"background=-1.*: expected a number, 0 to"),
    ("simulate crystal -o new.cxi --stray 2", r"stray=2.*: expected a number, 0 to 1"),
    ("simulate crystal -o new.cxi --hot -1", r"Invalid value .*-1.* for --hot\. Must be >= 0"),
    ("simulate crystal -o new.cxi --hot 5000", r"hot_unmasked=5000\): expected at most half of the detector's 4096 pixels"),
    ("simulate crystal -o new.cxi --clipped 0.7", r"clipped=0\.7\): expected a number, 0 to 0\.5"),
    ("simulate crystal -o new.cxi --recipe cells --hot 2", r"--recipe says it all; leave --hot out"),
    ("simulate crystal -o new.cxi --dislocations -1", r"Invalid value .*-1.* for --dislocations\. Must be >= 0"),
    ("simulate crystal -o new.cxi --recipe crystals-2", r"no recipe 'crystals-2'; did you mean crystals-2d\?"),
    ("simulate crystal -o new.cxi --recipe cells --faults 2", r"--recipe says it all; leave --faults out"),
    ("simulate crystal -o good.cxi", r"good\.cxi exists; choose another name or overwrite=True \(--overwrite\)"),
    ("simulate crystal -o new.cxi --truth good.cxi", r"good\.cxi exists"),
    ("simulate crystal -o new.cxi --truth new.cxi", r"cannot hold both the measurement and the truth"),
    ("simulate crystal -o new.npz", r"cannot write new\.npz; expected a name that ends in \.cxi"),
    ("simulate crystal -o line.npy/new.cxi", r"would lie in .*line\.npy, which is a file; choose another folder"),
    ("simulate dataset", r"requires an argument"),
    ("simulate dataset -o new --count 0", r"Invalid value .*0.* for --count\. Must be >= 1"),
    ("simulate dataset -o new --recipe cell", r"no recipe 'cell'; did you mean cells\?"),
    ("simulate dataset -o new --recipe cells --size 8,8", r"an array of 8 x 8"),
    ("simulate dataset -o line.npy", r"line\.npy is a file; expected a folder for the data set"),
    ("simulate dataset -o full", r"full holds files and no manifest\.json; expected a new or empty folder"),
    (
        "simulate dataset -o begun --seed 1 --count 4",
        r"begun holds a data set with seed 0, asked for was 1; .*go on with: untwin simulate dataset -o begun",
    ),
    ("simulate dataset -o spoilt --count 4", r"spoilt/manifest\.json is not the manifest of a data set"),
    ("inspect spoilt", r"spoilt/manifest\.json is not the manifest of a data set"),
    ("reconstruct good.npz --start predictt", r"start 'predictt'; expected random, predict, predict:MODEL or the folder of a result"),
    ("reconstruct good.npz --start predict:none", r"no model 'none'; shipped are cdi-nn"),
    ("reconstruct good.npz --start predict:cut.safetensors", r"cut\.safetensors cannot be read as weights .*expected a \.safetensors file"),
    ("train cdi-nn", r"requires an argument"),
    ("train cdi-n -o new", r"no model 'cdi-n'; did you mean cdi-nn\?"),
    ("train CdiNN(form=48) -o new --data cdi-nn", r"CdiNN\(form=48\): expected 32 or 64"),
    ("train RealUNet() -o new", r"--data is needed with RealUNet\(\)"),
    ("train cdi-nn -o new --data crystals-3d", r"cdi-nn takes patterns of \(32, 32\), crystals-3d has \(64, 64, 64\); choose another"),
    ("train cdi-nn -o new --data crystals-2", r"no recipe 'crystals-2'; did you mean crystals-2d\?"),
    ("train cdi-nn -o new --data folder", r"folder is a folder without manifest\.json"),
    ("train cdi-nn -o new --data begun", r"begun is not complete: 0 of 1 shards are there"),
    ("train cdi-nn -o new --data unlabelled", r"unlabelled holds no objects, which training and validation need; write it again without"),
    ("train cdi-nn -o new --objective best", r"objective 'best'; expected one of supervised, canonical, invariant, passive"),
    ("train cdi-nn -o new --steps 0", r"Invalid value .*0.* for --steps\. Must be >= 1"),
    ("train cdi-nn -o new --rate 2", r"Training\(rate=2\.0\): expected a number above 0 and below 1"),
    ("train cdi-nn -o full", r"full is not empty; choose another folder"),
    ("train cdi-nn -o new --resume", r"no checkpoint\.safetensors in new; leave --resume out"),
    ("train cdi-nn -o line.npy", r"line\.npy is a file; expected a folder"),
    ("predict", r"no pattern given; expected untwin predict FILE"),
    ("predict missing.npz", r"missing\.npz does not exist"),
    ("predict good.npz --model cdi", r"no model 'cdi'; did you mean cdi-nn\?"),
    ("predict good.npz --model text.h5", r"text\.h5 cannot be read as weights"),
    ("predict good.npz --model cut.safetensors", r"cut\.safetensors cannot be read as weights .*complete"),
    ("predict good.npz --model bare.safetensors", r"bare\.safetensors holds tensors and no card of format"),
    ("predict good.npz --model hostile.safetensors", r"unknown name|is not allowed|no model"),
    ("predict good.npz good.npz", r"two patterns are called good; their predictions would have one name"),
    ("predict good.npz --activations x.zzz", r"cannot write x\.zzz"),
    ("predict good.npz -o line.npy", r"line\.npy is a file; expected a folder"),
    ("restore", r"no picture given; expected untwin restore IMAGE"),
    ("restore none.png", r"the image none\.png does not exist"),
    ("restore folder", r"the image folder is a folder; expected a file: PNG, JPEG, TIFF or \.npy"),
    ("restore text.h5", r"text\.h5 is in no format.*expected PNG, JPEG, TIFF or \.npy"),
    ("restore cut.png", r"cut\.png cannot be read"),
    ("restore nan.npy", r"nan\.npy holds 1024 values that are NaN or infinite"),
    ("restore line.npy", r"line\.npy has shape \(32,\); expected \(height, width\)"),
    ("restore small.npy", r"small\.npy has 4 x 5 pixels; expected 8 at least"),
    ("restore zero.npy --task sharpen", r"unknown task 'sharpen'; expected one of denoise, inpaint"),
    ("restore zero.npy --prior unet", r"unknown prior 'unet'; expected one of auto, pnp, tv, dip, drp"),
    ("restore zero.npy --noise pink", r"unknown noise 'pink'; expected one of gaussian, impulse"),
    ("restore zero.npy --stop EMW", r"unknown name 'EMW' in the recipe; did you mean EMV\?"),
    ("restore zero.npy --stop 3*ER", r"'3\*ER' is not a rule; expected such as EMV"),
    ("restore zero.npy --task inpaint", r"task 'inpaint' needs mask= \(--mask\)"),
    ("restore zero.npy --task inpaint --mask mask16.npy", r"the mask has shape \(16, 16\), the image \(32, 32\); crop or pad"),
    ("restore zero.npy --task inpaint --mask ones.npy", r"the mask marks every pixel"),
    ("restore zero.npy --task superres", r"task 'superres' needs factor= \(--factor\)"),
    ("restore zero.npy --task superres --factor 1", r"factor=1 \(--factor\): expected a whole number from 2 to 16"),
    ("restore zero.npy --task superres --factor 2.5", r"--factor 2\.5: expected a whole number from 2 to 16"),
    ("restore zero.npy --factor 2", r"factor= \(--factor\) belongs to task 'superres', not to 'denoise'"),
    ("restore zero.npy --task deblur", r"the picture is 0 everywhere: it has no edge that shows a blur"),
    ("restore zero.npy --task deblur --kernel kernel40.npy", r"the kernel has shape \(40, 40\), the image \(32, 32\); expected no larger"),
    ("restore zero.npy --task deblur --kernel zero.npy", r"the kernel sums to 0; expected a positive sum"),
    ("restore zero.npy --task mri", r"task 'mri' with a picture needs sampling= \(--sampling\)"),
    ("restore zero.npy --task mri --sampling mask16.npy", r"the sampling pattern has shape \(16, 16\), the k-space \(32, 32\)"),
    ("restore tiny.npy --prior drp --output full", r"full exists and is not empty"),
    ("restore zero.npy --steps 0", r"Invalid value .*0.* for --steps\. Must be >= 1"),
    *(
        (f"{command} {path}", match)
        for path, match in (
            ("there.png", r"there\.png exists; choose another name or overwrite=True \(--overwrite\)"),
            ("shut.png", r"shut\.png is a folder; expected the name of a file"),
            ("line.npy/x.png", r"line\.npy/x\.png would lie in .*line\.npy, which is a file"),
        )
        for command in (
            "inspect good.npz --picture",
            "compare object16.npz object16.npz -o",
            "predict good.npz --activations",
        )
    ),
    *(
        (f"{command} line.npy/x", r"line\.npy/x would lie in .*line\.npy, which is a file")
        for command in (
            "reconstruct good.npz -o",
            "restore zero.npy -o",
            "predict good.npz -o",
            "train cdi-nn -o",
            "demo -o",
            "simulate dataset -o",
        )
    ),
    ("simulate crystal -o line.npy/x.cxi", r"line\.npy/x\.cxi would lie in .*line\.npy, which is a file"),
    ("simulate crystal -o good.cxi", r"good\.cxi exists; choose another name or overwrite=True \(--overwrite\)"),
    ("demo -o full", r"full exists and is not empty"),
    ("train cdi-nn -o full", r"full is not empty; choose another folder"),
    ("simulate dataset -o full", r"full holds files and no manifest\.json"),
    ("predict good.npz -o said", r"said/good\.cxi exists; choose another folder or --overwrite"),
    ("reconstruct ~nobody.npz", r"~nobody\.npz (cannot be opened|does not exist)"),
    ("reconstruct --config deep.toml", r"deep\.toml is not TOML"),
    ("reconstruct --config long.toml", r"long\.toml has more than 100,000 bytes"),
    ("reconstruct --config digits.toml", r"digits\.toml is not TOML"),
    ("reconstruct --config nul.toml", r"cannot read the recipe"),
    ("inspect wide", r"wide/manifest\.json is not the manifest of a data set \(1,000,000,000,000 shards\)"),
    ("inspect nested", r"nested/manifest\.json is not the manifest"),
    ("simulate datset", r"Unknown command .datset.\. Did you mean .dataset.\?"),
    ("recontruct good.npz", r"Unknown command .recontruct.\. Did you mean .reconstruct.\?"),
]
FINE = [
    "--help",
    "--version",
    "reconstruct --help",
    "demo --help",
    "restore --help",
    "inspect good.npz",
    *(f"simulate{name} --help" for name in ("", " crystal", " dataset")),
    "inspect begun",
]


def untwin(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "untwin", *arguments], cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A folder of good and bad files."""
    folder = tmp_path_factory.mktemp("house")
    arrays = {
        "line": GOOD[0],
        "four": np.ones((2, 3, 16, 16), np.float32),
        "nan": GOOD * np.nan,
        "zero": GOOD * 0,
        "negative": -GOOD - 1,
        "mask16": np.zeros((16, 16), np.uint8),
        "ones": np.ones((32, 32), np.uint8),
        "support16": np.eye(16),
        "small": np.ones((4, 5), np.uint8),
        "tiny": np.ones((8, 9), np.uint8),
        "kernel40": np.ones((40, 40)),
    }
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    np.savez(folder / "good.npz", intensity=GOOD)
    np.savez(folder / "two.npz", a=GOOD, b=GOOD)
    for n in (16, 32):
        np.savez(folder / f"object{n}.npz", image=np.ones((n, n), complex))
    rng = np.random.default_rng(0)
    pattern, _ = measure(shapes.complex_texture((32, 32), rng), 1e6, rng)
    np.savez(folder / "complex.npz", intensity=np.fft.fftshift(pattern.intensity))
    with h5py.File(folder / "tree.h5", "w") as file:
        file["entry/m4"] = GOOD
    (folder / "text.h5").write_text("hello world\n")
    (folder / "empty.cxi").touch()
    (folder / "unknown.toml").write_text('file = "good.npz"\nstats = 3\n')
    (folder / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 20)
    (folder / "types.toml").write_text('file = "good.npz"\nrecipe = 3\nstarts = "many"\n')
    (folder / "broken.toml").write_text("file = = 3\n")
    (folder / "text16.toml").write_bytes('file = "good.npz"'.encode("utf-16"))
    (folder / "good.cxi").touch()
    for name, text in {"begun": manifest_text(planned(folder / "begun", "crystals-2d", 0, 4)), "spoilt": "{}"}.items():
        (folder / name).mkdir()
        (folder / name / "manifest.json").write_text(text)
    write(folder / "unlabelled", "cdi-nn", 0, 3, objects=False)
    cards = {"bare": None, "hostile": {"format": "untwin weights 1", "card": '{"architecture": "open(\'/etc/passwd\')"}'}}
    for name, told in cards.items():
        save_file({"w": np.ones(9, np.float32)}, folder / f"{name}.safetensors", told)
    (folder / "cut.safetensors").write_bytes((folder / "bare.safetensors").read_bytes()[:-9])
    (folder / "there.png").touch()
    (folder / "shut.png").mkdir()
    (folder / "said").mkdir()
    (folder / "said" / "good.cxi").touch()
    (folder / "deep.toml").write_text("a = " + "[" * 5000)
    (folder / "long.toml").write_text("#" * 10**6)
    (folder / "digits.toml").write_text("seed = " + "9" * 5000)
    (folder / "nul.toml").write_text('file = "good.npz"\nrecipe = "ER\\u0000"')
    wide = dataclasses.replace(read_manifest(folder / "begun"), count=10**12, shard=1)
    for name, text in {"wide": manifest_text(wide), "nested": "[" * 10**5}.items():
        (folder / name).mkdir()
        (folder / name / "manifest.json").write_text(text)
    (folder / "folder").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "thesis.tex").touch()
    return folder


@pytest.fixture(scope="module")
def done(house, tmp_path_factory) -> dict[str, dict]:
    """What became of every command, all of them run in one process that starts without torch."""
    commands = [*FINE, *(command for command, _ in REJECTED)]
    listed = tmp_path_factory.mktemp("commands") / "commands.json"
    listed.write_text(json.dumps([c.split() for c in commands]))
    ran = subprocess.run([sys.executable, "-c", RUNNER, str(listed)], cwd=house, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return dict(zip(commands, json.loads(ran.stdout), strict=True))


@pytest.mark.parametrize("command, match", REJECTED, ids=[c for c, _ in REJECTED])
def test_a_bad_input_is_refused_in_one_message(done, command, match):
    ended = done[command]
    assert ended["code"] == 2, ended
    message = ended["err"].strip().removesuffix("\nSee untwin --help.")
    assert message.startswith("untwin: ") and "\n" not in message and "Traceback" not in message
    assert re.search(match, message), message
    assert not ended["out"] and not ended["new"], "nothing is printed or written before the inputs are checked"
    assert not ended["torch"], "an input is refused before torch is loaded"


@pytest.mark.parametrize("command", FINE)
def test_help_and_inspection_need_no_torch(done, command):
    ended = done[command]
    assert ended["code"] == 0 and ended["out"] and not ended["err"] and not ended["torch"] and not ended["new"]


def test_help_names_every_command_and_option(done):
    assert all(
        f"  {name} " in done["--help"]["out"] or f"│ {name} " in done["--help"]["out"] for name in ("reconstruct", "demo", "inspect")
    )
    page = done["reconstruct --help"]["out"].lower()
    for name in config.Run.model_fields.keys() - {"file"}:
        assert f"--{name.replace(chr(95), chr(45))}" in page


def test_inspection_says_what_is_in_the_file(done):
    said = done["inspect good.npz"]["out"]
    for text in ("good.npz :: intensity", "32 x 32", "2.05e+04 in all", "(16, 16)", "untwin reconstruct good.npz"):
        assert text in said
    for text in ("hot pixels  none seen", "saturated  none seen", "background  "):
        assert text in said


@pytest.mark.parametrize(
    "arguments, match",
    [
        (["reconstruct", "missing.npz"], "does not exist"),
        (["reconstruct", "good.npz", "--recipe", "20*HOI", "-o", "new"], "did you mean HIO"),
        (["reconstruct", "good.npz", "--device", "nosuch", "-o", "new"], r"no device 'nosuch' with this torch .*; try cpu"),
    ],
)
def test_the_program_itself_ends_with_code_two(house, arguments, match):
    ended = untwin(house, *arguments)
    assert ended.returncode == 2 and not ended.stdout
    assert ended.stderr.startswith("untwin: ") and len(ended.stderr.splitlines()) == 1
    assert re.search(match, ended.stderr), ended.stderr
    assert not (house / "new").exists() and not (house / "good_out").exists()


def test_the_program_itself_shows_its_help(house):
    ended = untwin(house, "--help")
    assert ended.returncode == 0 and not ended.stderr and "reconstruct" in ended.stdout


@pytest.mark.parametrize(
    "error, code, message",
    [
        (NumericalFailure("every start failed; try more starts"), 3, "every start failed; try more starts"),
        (KeyboardInterrupt(), 130, "interrupted; what is complete stays, nothing is half-written"),
        (OSError(28, "No space left on device", "new"), 2, "No space left on device: new; check the path, the space and the permissions"),
        (InputError("no"), 2, "no"),
        (MemoryError(), 2, "out of memory; try --workers 1, fewer --starts or a smaller array"),
        (
            RuntimeError("a\nb"),
            70,
            "this is a bug in untwin (RuntimeError: a b); run the command again with --debug and report what it says",
        ),
    ],
)
def test_what_goes_wrong_on_the_way_has_its_exit_code(house, monkeypatch, capsys, error, code, message):
    def broken(*args, **kwargs):
        raise error

    monkeypatch.chdir(house)
    monkeypatch.setattr("untwin.reconstruct", broken, raising=False)
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", "good.npz", "-o", "new"])
    assert stop.value.code == code
    assert capsys.readouterr().err == f"untwin: {message}\n"
    with pytest.raises(SystemExit) as stop:
        cli.main(["reconstruct", "good.npz", "--debug", "-o", "new"])
    said = capsys.readouterr().err
    assert stop.value.code == code and said.endswith(f"untwin: {message}\n")
    assert isinstance(error, KeyboardInterrupt) or said.startswith("Traceback"), "with --debug, where it happened"
    assert not (house / "new").exists()


def test_only_main_decides_how_the_program_ends():
    """So every command has the exit codes of main: no other function of the command line exits or catches everything."""
    folder = Path(cli.__file__).parent
    functions = [
        (file.name, node)
        for file in sorted(folder.glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 50
    for file, node in functions:
        if file == "app.py" and node.name in ("main", "_run", "_end", "_stop"):
            continue
        for inner in ast.walk(node):
            assert not (isinstance(inner, ast.Name) and inner.id == "SystemExit") and "sys.exit" not in ast.unparse(inner), node.name
            assert not (
                isinstance(inner, ast.ExceptHandler) and ast.unparse(inner.type or ast.Name("Exception")) in ("Exception", "BaseException")
            ), node.name


def test_options_come_before_the_file_and_the_file_before_defaults(house, monkeypatch):
    monkeypatch.chdir(house)
    Path("some.toml").write_text('file = "good.npz"\nseed = 3\nstarts = 5\ncentre = [16, 15.5]\n')
    run = config.resolved(Path("some.toml"), {"seed": 4})
    assert (run.seed, run.starts, run.positivity, run.centre, run.file) == (4, 5, False, (16, 15.5), Path("good.npz"))
    Path("some.toml").unlink()


@pytest.mark.parametrize("size", ["40,32", "15,16,18"])
def test_a_simulated_crystal_is_read_as_it_was_made_and_its_truth_is_an_object(tmp_path, monkeypatch, capsys, size):
    monkeypatch.chdir(tmp_path)
    command = [
        "simulate",
        "crystal",
        "-o",
        "c.cxi",
        "--size",
        size,
        "--dislocations",
        "1",
        "--photons",
        "1e5",
        "--beamstop",
        "1.5",
        "--seed",
        "7",
    ]
    ran(command)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.cxi", "c_truth.cxi"]
    shape = tuple(map(int, size.split(",")))
    pattern, truth = read("c.cxi"), read_object("c_truth.cxi")  # a guess would be a warning, and a warning an error
    recipe = crystal(shape, dislocations=1, photons=1e5, beamstop=1.5)
    sample = Crystals(recipe, 7).sample(0)
    np.testing.assert_array_equal(pattern.intensity, sample["intensity"])
    np.testing.assert_array_equal(pattern.measured, sample["measured"])
    np.testing.assert_array_equal(truth.image, sample["image"])
    np.testing.assert_array_equal(truth.support, sample["support"])
    assert json.loads(str(truth.process["labels"])) == sample["labels"] and truth.process["recipe"] == repr(recipe)
    assert pattern.source.path == "c.cxi" and pattern.source.sha256 and not pattern.warnings and not pattern.measured.flat[0]
    seen = np.abs(np.fft.fftn(np.fft.ifftshift(truth.image), norm="ortho")) ** 2
    assert abs(pattern.photons - seen[pattern.measured].sum()) < 6 * np.sqrt(pattern.photons), "the truth explains the counts"
    before = Path("c.cxi").read_bytes()
    assert ran(command) == 2 and ran([*command, "--overwrite"]) == 0 and Path("c.cxi").read_bytes() == before
    capsys.readouterr()
    ran(["compare", "c_truth.cxi", "c_truth.cxi"])
    assert "correlation 1.0000" in capsys.readouterr().out


def test_a_simulated_crystal_has_the_disturbances_that_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"coherence": 0.3, "background": 2.0, "stray": 0.01, "hot": 3, "clipped": 0.02}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert ran(["simulate", "crystal", "-o", "c.cxi", "--size", "40,32", "--photons", "1e5", "--seed", "7", *words]) == 0
    sample = Crystals(crystal((40, 32), photons=1e5, **options), 7).sample(0)  # type: ignore[arg-type]
    np.testing.assert_array_equal(read("c.cxi").intensity, sample["intensity"])
    label = json.loads(str(read_object("c_truth.cxi").process["labels"]))["detector"]
    assert {name: label[name] for name in ("coherence", "background", "stray", "clipped")} == {
        name: options[name] for name in ("coherence", "background", "stray", "clipped")
    }
    assert label["hot_unmasked"] == 3 and label["hot_counts"] == 1000 and label["clipped_pixels"] > 0


def ran(arguments: list[str]) -> int:
    try:
        cli.main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_a_data_set_is_written_inspected_and_one_sample_taken_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["simulate", "dataset", "-o", "ds", "--recipe", "cells", "--size", "24,28", "--count", "5", "--seed", "3", "--workers", "1"]
    assert ran(command) == 0 and "ds: 5 samples of 24 x 28 in 1 shard" in capsys.readouterr().out
    assert ran(command) == 0 and "ds is complete: 5 samples in 1 shard; nothing to do" in capsys.readouterr().out
    assert ran(["inspect", "ds"]) == 0
    said = capsys.readouterr().out
    assert "5 of 24 x 28, seed 3" in said and "1, complete" in said and Path("ds/contact.png").is_file()
    assert ran(["inspect", "ds", "--picture", "sheets/five.png"]) == 0 and Path("sheets/five.png").is_file()
    ran(["simulate", "crystal", "-o", "four.cxi", "--recipe", "cells", "--size", "24,28", "--seed", "3", "--index", "4"])
    np.testing.assert_array_equal(read("four.cxi").intensity, Shards("ds").pattern(4).intensity)
    Path("ds/shard-00000.h5").unlink()
    capsys.readouterr()
    assert ran(["inspect", "ds"]) == 0
    again = capsys.readouterr().out.split("go on with  ")[1].split("\n")[0]
    assert ran(shlex.split(again)[1:]) == 0 and len(Shards("ds")) == 5


def test_what_a_run_says_of_itself_is_a_run_again(house, monkeypatch):
    monkeypatch.chdir(house)
    run = config.resolved(
        None, {"file": "good.npz", "mask": "mask16.npy", "support": "object16.npz::image", "centre": ["1", "2.5"], "seed": 2}
    )
    table = run.table("20*ER")
    assert table["file"] == str(house / "good.npz") and table["mask"] == str(house / "mask16.npy")
    assert table["support"] == f"{house / 'object16.npz'}::image"
    again = config.Run(**table)
    assert (again.seed, again.centre, again.recipe) == (2, (1, 2.5), "20*ER")
