"""What a user is told to do next: true of the verdict, and a command that the command line takes."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import untwin as ut
from untwin import cli
from untwin.judge import trust
from untwin.judge.trust import Cause, Evidence, Verdict
from untwin.show.advice import MOST_EFFORT, advice
from untwin.simulate import shapes
from untwin.simulate.detector import measure

OUT = Path("scans/out")
GOOD = Evidence(r_factor=0.02, errors=(0.02, 0.3), starts=8, agreeing=3, twins=1)
CASES = {  # what the verdict rests on -> its cause, and what the advice says
    "agreement": (GOOD, Cause.AGREEMENT, "export"),
    "one family": (replace(GOOD, errors=()), Cause.SINGLE, "--starts 24"),
    "unexplained": (replace(GOOD, r_factor=0.7), Cause.UNEXPLAINED, "untwin inspect"),
    "hidden": (replace(GOOD, hidden=4.0), Cause.SPECKLES, "--support"),
    "hidden, apart": (replace(GOOD, hidden=4.0, errors=(0.5,)), Cause.SPECKLES, "--support"),
    "noise": (replace(GOOD, noise_error=0.2), Cause.NOISE, ""),
    "rounding": (replace(GOOD, counts=False, rounding_error=0.2), Cause.ROUNDING, ""),
    "twin": (replace(GOOD, twin_error=0.8), Cause.TWIN, ""),
    "model": (replace(GOOD, contradictions=("rings",)), Cause.MODEL, "untwin inspect"),
    "apart": (replace(GOOD, errors=(0.5,)), Cause.AGREEMENT, "--effort 4"),
    "alike": (replace(GOOD, errors=(0.15,)), Cause.AGREEMENT, "--effort 4"),
}


@pytest.fixture(scope="module")
def solution():
    pattern, _ = measure(shapes.complex_texture((24, 24), np.random.default_rng(0)), 1e6, np.random.default_rng(0))
    solution = ut.reconstruct(pattern, "20*HIO + ShrinkWrap + 5*ER", starts=2)
    return replace(
        solution, method="auto", numbers=solution.numbers | {"chi_square_amplitude": 1.0, "photons": 1e6, "support_pixels": 100.0}
    )


@pytest.mark.parametrize("case", CASES)
def test_every_cause_has_its_advice(solution, case):
    evidence, cause, command = CASES[case]
    verdict = trust.verdict(evidence)
    following = advice(replace(solution, verdict=verdict), OUT, {"file": "my scan.h5"})
    assert verdict.cause == cause and following.text and command in following.command
    assert "'my scan.h5'" in following.command or cause in (Cause.NOISE, Cause.ROUNDING, Cause.TWIN) or verdict.trusted


@pytest.mark.parametrize("case", CASES)
def test_what_decides_is_part_of_the_text_and_the_rest_is_the_reasons(case):
    verdict = trust.verdict(CASES[case][0])
    assert verdict.decision and verdict.decision in verdict.text
    assert verdict.decision not in verdict.reasons and verdict.reasons.startswith("R = ")


@pytest.mark.parametrize("case", CASES)
def test_a_command_is_one_that_the_command_line_takes(solution, case, monkeypatch, tmp_path, capsys):
    """Every option exists; the file does not, which is the first thing that is looked at."""
    monkeypatch.chdir(tmp_path)
    verdict = trust.verdict(CASES[case][0])
    command = advice(replace(solution, verdict=verdict), OUT, {"file": "scan.h5", "centre": [12.5, 12.0], "positivity": True}).command
    if not command:
        return
    words = shlex.split(command)
    assert words[0] == "untwin"
    with pytest.raises(SystemExit) as stop:
        cli.main(words[1:])
    assert stop.value.code == 2 and re.search(r"no file|does not exist|no result", capsys.readouterr().err, re.IGNORECASE), command


def test_options_of_the_run_are_typed_again_and_those_of_its_work_are_not(solution):
    apart = replace(solution, verdict=trust.verdict(CASES["apart"][0]))
    options = {"file": "scan.h5", "mask": "-bad.npy", "centre": (12.5, 12.0), "effort": 4.0, "seed": 7, "workers": 2, "positivity": True}
    command = advice(replace(apart, effort=4.0), OUT, options).command
    assert command == "untwin reconstruct scan.h5 --mask=-bad.npy --centre 12.5,12.0 --positivity --effort 16 -o scans/out_2"
    assert "--effort" not in advice(replace(apart, effort=MOST_EFFORT), OUT, options).command
    assert advice(replace(apart, method="recipe"), OUT, {"file": "scan.h5"}).command == "untwin reconstruct scan.h5 -o scans/out_2"
    assert "inspect" in advice(replace(apart, numbers=apart.numbers | {"chi_square_amplitude": 1.5}), OUT, options).command


def test_a_stored_result_is_advised_by_the_plan_that_ran(solution, tmp_path):
    apart = replace(solution, verdict=trust.verdict(CASES["apart"][0]))
    for name, asked, text in (("recipe", {"method": "recipe"}, "automatic plan"), ("more", {"effort": 4.0}, "--effort 16")):
        following = advice(ut.load(replace(apart, **asked).save(tmp_path / name)), OUT, {"file": "scan.h5"})
        assert text in f"{following.text}: {following.command}"


def test_a_result_of_an_earlier_version_passes_for_one_of_the_automatic_plan(solution, tmp_path):
    with h5py.File(replace(solution, method="siren", effort=2.0).save(tmp_path / "old") / "result.cxi", "r+") as file:
        record = json.loads(file["entry_1/process_1/summary"][()])
        assert (record.pop("method"), record.pop("effort")) == ("siren", 2.0)
        del file["entry_1/process_1/summary"]
        file["entry_1/process_1/summary"] = json.dumps(record)
    old = ut.load(tmp_path / "old")
    assert (old.method, old.effort) == ("auto", 1.0)


def test_where_photons_are_few_more_of_them_are_advised_whatever_a_shell_says(solution):
    apart = replace(solution, verdict=trust.verdict(CASES["apart"][0]))
    few = advice(replace(apart, numbers=apart.numbers | {"photons": 5e3, "worst_shell_misfit": 4.0}), OUT, {"file": "scan.h5"})
    assert "photons" in few.text and not few.command
    assert "--effort" in advice(replace(apart, numbers=apart.numbers | {"worst_shell_misfit": 4.0}), OUT, {"file": "scan.h5"}).command


def test_a_crystal_is_taken_away_as_what_suits_it(solution):
    trusted = replace(solution, verdict=Verdict(True, "fine"))
    assert advice(trusted, OUT).command == "untwin export scans/out --to tiff"
    assert advice(replace(trusted, image=solution.image[None]), OUT).command == "untwin export scans/out --to vti"
    assert "ParaView" in advice(trusted, OUT, strained=True).text


def test_where_most_starts_failed_it_is_not_more_work(solution):
    broken = replace(solution, verdict=trust.verdict(GOOD).but("it failed", "it failed", Cause.FAILED))
    assert "untwin inspect scan.h5 --offset 0 " in advice(broken, OUT, {"file": "scan.h5", "offset": 0.0}).command


def test_hidden_speckles_are_named_once_whatever_decides():
    for errors, ratio in (((0.01,), None), ((0.15,), None), ((0.5,), None), ((0.5,), 1.0)):
        verdict = trust.verdict(replace(GOOD, hidden=4.0, errors=errors, deviance_ratio=ratio))
        assert verdict.text.count("of 4 speckles nothing was measured") == 1 and verdict.cause is Cause.SPECKLES


def test_a_doubt_takes_the_trust_away():
    verdict = trust.verdict(GOOD).but("something; but a doubt", "a doubt")
    assert verdict.trusted is None and verdict.decision == "a doubt" and verdict.reasons == trust.verdict(GOOD).text
