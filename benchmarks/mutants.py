"""Each guarantee, the test that holds it, and a fault in the code that this test was seen to find.

    python benchmarks/mutants.py [--only G12 G13] [--table]

Every mutant is one replacement in a copy of src/untwin; the test named beside it must pass on the untouched code and fail on the copy.
Writes benchmarks/results/mutants.json and the table in docs/guarantees.md; --table only writes the table again from the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
RESULTS = HOME / "benchmarks" / "results" / "mutants.json"
PAGE = HOME / "docs" / "guarantees.md"
BEGIN, END = "<!-- from benchmarks/mutants.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Mutant:
    """guarantee: its number. says: the fault in words. file: in src/untwin. old, new: text; old stands there once. test: in tests/."""

    guarantee: str
    says: str
    file: str
    old: str
    new: str
    test: str


MUTANTS = [
    Mutant(
        "G1",
        "the name before the disk: rename, then fsync",
        "data/atomic.py",
        "        _flush(temporary)\n        os.replace(temporary, target)",
        "        os.replace(temporary, target)\n        _flush(target)",
        "test_files.py::test_a_file_reaches_the_disk_before_its_name",
    ),
    Mutant(
        "G1",
        "written in place",
        "data/atomic.py",
        'temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}{PART}")',
        "temporary = target",
        "test_files.py::test_what_fails_half_way_leaves_the_old_file_and_nothing_else",
    ),
    Mutant(
        "G1",
        "a compression without a checksum",
        "data/cxi.py",
        'compression="gzip", compression_opts=4, shuffle=True',
        'compression="lzf"',
        "test_files.py::test_a_checksum_finds_a_flipped_bit_in_a_result",
    ),
    Mutant(
        "G1",
        "no version before the last is kept",
        "data/checksummed.py",
        "            os.replace(target, before(target))",
        "            target.unlink()",
        "test_sealed.py::test_a_kill_at_this_moment_leaves_the_old_file_or_the_new_one",
    ),
    Mutant(
        "G1",
        "the seal is not looked at",
        "data/checksummed.py",
        " and hashlib.sha256(memoryview(content)[:end]).digest() == content[-32:]:",
        ":",
        "test_sealed.py::test_what_was_damaged_since_is_seen_and_the_version_before_is_used",
    ),
    Mutant(
        "G2",
        "the curve on the way is forgotten",
        "runs/launch.py",
        "state, trace = (part.state, part.trace) if part else (state, [])",
        "state, trace = (part.state, []) if part else (state, [])",
        "test_interruption.py::test_an_interrupted_part_is_kept_where_it_stood",
    ),
    Mutant(
        "G2",
        "what an algorithm carries is forgotten",
        "runs/checkpoint.py",
        "**{f.name: _encode(getattr(value, f.name)) for f in fields(value)}}",
        '**{f.name: _encode(getattr(value, f.name)) for f in fields(value) if f.name != "memory"}}',
        "test_fit.py::test_a_fit_goes_on_from_a_file_bit_for_bit",
    ),
    Mutant(
        "G2",
        "another version goes on",
        "runs/checkpoint.py",
        "            if was != is_:",
        "            if False:",
        "test_checkpoint.py::test_another_run_does_not_go_on_from_it",
    ),
    Mutant(
        "G2",
        "the loss since the last validation is forgotten",
        "learn/train.py",
        'progress.loss.copy_(tensors["loss"])',
        "pass",
        "test_train.py::test_an_interrupted_training_goes_on_to_the_same_bits",
    ),
    Mutant(
        "G3",
        "no share of the time is kept",
        "runs/checkpoint.py",
        "self._later(max(self.every, SHARE * self.cost))",
        "self._later(self.every / 20)",
        "test_checkpoint.py::test_checkpoints_take_no_more_than_their_share_and_lose_no_more_than_half_a_minute",
    ),
    Mutant(
        "G4",
        "SIGTERM is not heard",
        "cli/app.py",
        "    signal.signal(signal.SIGTERM, signal.default_int_handler)\n    try:",
        "    try:",
        "test_interruption.py::test_an_interruption_keeps_what_is_done_and_says_how_to_go_on",
    ),
    Mutant(
        "G4",
        "an interruption keeps nothing",
        "runs/checkpoint.py",
        "                if latest:\n                    self.keep(part_state())\n                raise",
        "                raise",
        "test_interruption.py::test_an_interrupted_part_is_kept_where_it_stood",
    ),
    Mutant(
        "G5",
        "batches follow the workers",
        "runs/launch.py",
        "for i in range(0, n, self.batch):",
        "for i in range(0, n, self.batch if self.workers == 1 else 1):",
        "test_checkpoint.py::test_neither_the_number_of_workers_nor_the_order_changes_a_bit",
    ),
    Mutant(
        "G5",
        "starts draw from the place in their batch",
        "solve/recipe.py",
        "u = [_uniform(seed, label) for seed in state.seeds]",
        "u = [_uniform(i, label) for i, _ in enumerate(state.seeds)]",
        "test_checkpoint.py::test_every_start_draws_from_its_own_seed",
    ),
    Mutant(
        "G6",
        "what the other threads have summed is left out",
        "engine/iterations.py",
        "with self.loop(const(0), self.threads, f64(0.0)) as loop:",
        "with self.loop(const(0), const(1), f64(0.0)) as loop:",
        "test_iterations.py::test_two_threads_come_to_the_same",
    ),
    Mutant(
        "G7",
        "the conventions are not told",
        "runs/archive.py",
        "        **CONVENTIONS,\n",
        "",
        "test_interruption.py::test_a_result_says_where_it_comes_from_and_its_file_alone_repeats_it",
    ),
    Mutant(
        "G8",
        "workers cost nothing",
        "runs/memory.py",
        "workers = min(launch.workers, parts)",
        "workers = 0",
        "test_memory.py::test_more_of_anything_takes_more",
    ),
    Mutant(
        "G8",
        "nothing is refused",
        "runs/memory.py",
        "needed - _resident() <= free:",
        "needed:",
        "test_memory.py::test_a_run_that_does_not_fit_is_refused_with_a_setting_that_does",
    ),
    Mutant(
        "G9",
        "nobody looks on the way",
        "runs/launch.py",
        "if state.step % CHECK == 0 and state.rule_state is None",
        "if state.step % 1000 == 999 and state.rule_state is None",
        "test_failures.py::test_a_batch_that_is_lost_is_seen_within_ten_steps_wherever_it_began",
    ),
    Mutant(
        "G9",
        "a start that failed is not replaced",
        "runs/stages/search.py",
        "            if len(failures) > max(1, int(REPLACED * len(members))):",
        "            if failures:",
        "test_failures.py::test_a_start_that_fails_is_named_left_out_and_replaced",
    ),
    Mutant(
        "G9",
        "a fit that is lost is not stopped",
        "solve/stopping.py",
        "            stopped = stopped | ~state.finite()",
        "            stopped = stopped | False",
        "test_failures.py::test_a_rule_stops_a_start_that_is_lost_and_keeps_the_image_from_before",
    ),
    Mutant(
        "G9",
        "a training goes on with NaN",
        "learn/train.py",
        "and not math.isfinite(float(progress.loss)):",
        "and False:",
        "test_train.py::test_a_training_that_comes_to_nan_ends_and_keeps_what_was_before",
    ),
    Mutant(
        "G10",
        "only some errors of the file libraries become messages",
        "errors.py",
        "    except Exception as error:\n        text",
        "    except OSError as error:\n        text",
        "test_data_bad.py::test_content_that_is_no_pattern",
    ),
    Mutant(
        "G10",
        "what nobody has foreseen shows a traceback",
        "cli/app.py",
        '        _stop(f"this is a bug',
        '        raise\n        _stop(f"this is a bug',
        "test_cli.py::test_what_goes_wrong_on_the_way_has_its_exit_code",
    ),
    Mutant(
        "G10",
        "torch before the input is checked",
        "model/networks/weights.py",
        '    wanted = f"expected a {ENDING} file',
        '    import torch\n    wanted = f"expected a {ENDING} file',
        "test_cli.py::test_a_bad_input_is_refused_in_one_message",
    ),
    Mutant(
        "G11",
        "FFT order is taken without a word",
        "data/framing.py",
        '            guesses.append("the peak is at a corner',
        '            str("the peak is at a corner',
        "test_data_read.py::test_fft_order_is_recognised",
    ),
    Mutant(
        "G12",
        "links may leave the folder",
        "data/hdf5.py",
        "if not target.is_relative_to(self.folder):",
        "if False:",
        "test_data_bad.py::test_links_out_of_the_folder_are_not_followed",
    ),
    Mutant(
        "G12",
        "a link in the path of a linked file is not resolved",
        "data/hdf5.py",
        "(Path(owner.filename).resolve().parent / filename).resolve()",
        "(Path(owner.filename).resolve().parent / filename)",
        "test_data_bad.py::test_links_out_of_the_folder_are_not_followed",
    ),
    Mutant(
        "G13",
        "declared sizes are believed",
        "data/header.py",
        "or entry.nbytes > BUDGET:",
        "or False:",
        "test_data_bad.py::test_bombs_and_torn_files_are_refused_from_their_headers",
    ),
    Mutant(
        "G18",
        "a file that exists is replaced unasked",
        "data/atomic.py",
        "    if path.exists() and not overwrite:",
        "    if False:",
        "test_files.py::test_places_that_cannot_be_are_refused_before_anything_is_computed",
    ),
    Mutant(
        "G18",
        "HDF5 writes to the disk itself",
        "data/hdf5.py",
        'h5py.File(target.name, "w", driver="core", backing_store=False, **options)',
        'h5py.File(target, "w", **options)',
        "test_files.py::test_on_a_full_disk_what_was_there_stays_and_the_message_is_one_line[result.cxi]",
    ),
    Mutant(
        "G12",
        "raw values of a virtual source are looked for in the working folder",
        "data/hdf5.py",
        "            if origin.external:  # HDF5 would",
        "            if False:  # HDF5 would",
        "test_data_bad.py::test_a_virtual_source_does_not_read_raw_values_from_the_working_folder",
    ),
    Mutant(
        "G12",
        "a TIFF file may name others",
        "data/tiff.py",
        "tifffile.TiffFile(path, is_ome=False, is_ndtiff=False, is_mmstack=False)",
        "tifffile.TiffFile(path)",
        "test_data_bad.py::test_a_tiff_file_is_read_alone",
    ),
    Mutant(
        "G13",
        "the directory of a zip archive is believed",
        "data/arrays.py",
        "min(info.compress_size, path.stat().st_size)",
        "info.compress_size",
        "test_data_bad.py::test_a_zip_bomb_is_refused_whatever_its_directory_says",
    ),
    Mutant(
        "G13",
        "what unpacks to a thousand times its size is unpacked",
        "data/hdf5.py",
        "        unpacked(entry, stored, what)\n",
        "",
        "test_data_bad.py::test_bombs_in_hdf5",
    ),
    Mutant(
        "G10",
        "a damaged HDF5 file is opened without a probe",
        "data/hdf5.py",
        "    if not probe.survives(path):",
        "    if False:",
        "test_fuzz.py::test_what_once_broke_the_law_keeps_it",
    ),
    Mutant(
        "G10",
        "what a result says of itself is believed",
        "data/cxi.py",
        "        or not intensity[~is_bad(mask)].any()\n        or not ((intensity >= 0) & (intensity <= BRIGHTEST)).all()\n",
        "",
        "test_data_cxi.py::test_what_a_file_of_untwin_says_of_itself_is_checked_again",
    ),
    Mutant(
        "G19",
        "the ramp of the adjoint has the wrong sign",
        "model/waves/farfield.py",
        "r = self._ramp(x, -1)",
        "r = self._ramp(x, +1)",
        "test_properties.py::test_every_operator_has_its_adjoint[far field-float64]",
    ),
    Mutant(
        "G19",
        "the adjoint of MRI lacks a conjugate",
        "model/image/mri.py",
        "self.sensitivities.conj()",
        "self.sensitivities",
        "test_properties.py::test_every_operator_has_its_adjoint[mri-float64]",
    ),
    Mutant(
        "G19",
        "half of the slope is lost",
        "model/waves/base.py",
        "return w.real.square() + w.imag.square()",
        "return w.real.square() + w.imag.detach().square()",
        "test_properties.py::test_the_slopes_of_the_misfit_are_central_differences",
    ),
    Mutant(
        "G19",
        "an intensity of the far field is 1e-11 too large",
        "model/waves/base.py",
        "return w.real.square() + w.imag.square()",
        "return (w.real.square() + w.imag.square()) * (1 + 1e-11)",
        "test_properties.py::test_energy_is_kept",
    ),
    Mutant(
        "G20",
        "the twin is turned about the corner of the first pixel",
        "model/alignment.py",
        "return x.flip(axes).roll((1,) * d, axes).conj().resolve_conj()",
        "return x.flip(axes).conj().resolve_conj()",
        "test_symmetry.py::test_a_twin_twice_is_the_object_and_once_is_conj_x_of_minus_r",
    ),
    Mutant(
        "G20",
        "the conjugate is forgotten in the twin",
        "model/alignment.py",
        "return x.flip(axes).roll((1,) * d, axes).conj().resolve_conj()",
        "return x.flip(axes).roll((1,) * d, axes)",
        "test_properties.py::test_magnitudes_and_metrics_do_not_see_phase_shift_and_twin",
    ),
    Mutant(
        "G20",
        "a projection knows where the first pixel is",
        "model/constraints.py",
        "        return (x.real if x.is_complex() else x).clamp(min=0)",
        "        x = (x.real if x.is_complex() else x).clamp(min=0)\n        x[..., 0, 0] *= 0.999\n        return x",
        "test_properties.py::test_every_solver_moves_with_its_start[(12, 10)-whole-positive]",
    ),
    Mutant(
        "G21",
        "fftshift for ifftshift: right for even sizes, wrong for odd ones",
        "fourier.py",
        "return torch.fft.ifftshift(x, dim=_axes(d))",
        "return torch.fft.fftshift(x, dim=_axes(d))",
        "test_orientation.py::test_the_letter_goes_through_everything_upright[(33, 31)-.cxi]",
    ),
    Mutant(
        "G21",
        "figures are drawn upside down",
        "show/object.py",
        'picture = axes[0].imshow(magnitude, cmap="gray", vmin=0, vmax=upper_limit(magnitude), interpolation="nearest")',
        'picture = axes[0].imshow(magnitude[::-1], cmap="gray", vmin=0, vmax=upper_limit(magnitude), interpolation="nearest")',
        "test_orientation.py::test_the_letter_goes_through_everything_upright[(33, 31)-.cxi]",
    ),
    Mutant(
        "G21",
        "a pattern is cropped one pixel off",
        "data/framing.py",
        "        first = c - m // 2  # the pixel",
        "        first = c - (m - 1) // 2  # the pixel",
        "test_orientation.py::test_a_bright_pixel_and_a_bad_one_stay_where_they_are[(33, 31)-.npy]",
    ),
    Mutant(
        "G22",
        "a file stays open after every writing",
        "data/atomic.py",
        "        os.close(handle)",
        "        pass",
        "test_soak.py::test_a_dozen_reconstructions_leave_no_file_no_thread_and_little_memory",
    ),
    Mutant(
        "G21",
        "a result is centred by the wrong shift",
        "data/cxi.py",
        '_grid(detector, "data", pattern.centred(pattern.intensity).astype(np.float32), "photons")',
        '_grid(detector, "data", np.fft.ifftshift(pattern.intensity).astype(np.float32), "photons")',
        "test_data_cxi.py::test_a_result_comes_back_equal_and_upright",
    ),
    Mutant(
        "G5",
        "the seeds of starts are counted on, so that those of two runs overlap",
        "runs/population.py",
        'return Member(derive(seed, "start", number, attempt), number, family)',
        "return Member(seed + number + 1000 * attempt, number, family)",
        "test_random.py::test_two_runs_with_neighbouring_seeds_share_no_start",
    ),
    Mutant(
        "G23",
        "families that share a prediction count as evidence for each other",
        "runs/assess.py",
        "if _share_nothing(predictions, members[0], members[i]) and",
        "if",
        "test_predict.py::test_families_that_share_a_prediction_are_no_evidence_for_each_other",
    ),
    Mutant(
        "G23",
        "the seed, and not the family, decides who begins from a prediction",
        "solve/predict.py",
        "begun = torch.tensor([step.informs(m.family) for m in state.members]",
        "begun = torch.tensor([step.informs(m.seed) for m in state.members]",
        "test_predict.py::test_a_start_that_stands_in_knows_as_little_as_the_one_that_failed",
    ),
    Mutant(
        "G24",
        "the statistic is taken where the steps look, too",
        "solve/heldout.py",
        'value = problem.misfit(problem.project_object(state.image, state.support), aux["hidden"])',
        "value = problem.misfit(problem.project_object(state.image, state.support))",
        "test_stopping.py::test_the_statistic_sees_exactly_what_the_steps_do_not",
    ),
    Mutant(
        "G25",
        "the data are imposed without the detection",
        "model/counts.py",
        "expected = detection.expected(f).to(f.dtype)",
        "expected = f",
        "test_physics.py::test_the_true_object_gives_its_counts_and_stays_where_it_is",
    ),
    Mutant(
        "G25",
        "steps are handed the first values of what is unknown",
        "solve/run.py",
        "return problem.holding(state.nuisance) if state.nuisance else problem",
        "return problem",
        "test_physics.py::test_steps_and_rules_are_handed_the_values_of_their_state",
    ),
    Mutant(
        "G26",
        "a progress line formats what is not known yet",
        "cli/progress.py",
        'return f"{number:,}" if total is None else f"{number:,}/{total:,}"',
        'return f"{number:,}/{total:,}"',
        "test_terminal.py::test_a_count_fits_every_width_and_no_number_is_cut",
    ),
    Mutant(
        "G26",
        "a data set that is being written does not ask whether Ctrl-C was pressed",
        "simulate/dataset.py",
        "            if stop_requested():\n                raise KeyboardInterrupt",
        "            stop_requested()",
        "test_dataset.py::test_control_c_is_heard_where_python_would_lose_it",
    ),
    Mutant(
        "G27",
        "a background of nothing is modelled, too",
        "runs/stages/inspect.py",
        "        if floor is None or not floor.level:",
        "        if floor is None:",
        "test_coherence.py::test_a_coherent_pattern_is_left_as_it_is_to_the_bit",
    ),
    Mutant(
        "G27",
        "losses ask the sharpened counts",
        "model/problem.py",
        "        return self.loss(self.predict(x), self.counts.intensity,",
        "        return self.loss(self.predict(x), self.counts.amplitude.square(),",
        "test_coherence.py::test_projections_impose_sharpened_counts_and_losses_ask_the_physics",
    ),
    Mutant(
        "G28",
        "a contradiction is passed over",
        "judge/trust.py",
        "    if e.contradictions:",
        "    if e.contradictions and not e.errors:",
        "test_coherence.py::test_nothing_is_trusted_while_the_counts_contradict_the_model",
    ),
    Mutant(
        "G29",
        "noise is not asked for",
        "judge/trust.py",
        "    if e.noise_error >= SAME_ERROR:",
        "    if e.noise_error >= 10 * SAME_ERROR:",
        "test_waves.py::test_starts_that_agree_on_noise_are_not_trusted",
    ),
    Mutant(
        "G29",
        "both halves are the same photons",
        "runs/halves.py",
        "return math.sqrt(0.5), (half, photons - half)",
        "return math.sqrt(0.5), (half, half)",
        "test_waves.py::test_starts_that_agree_on_noise_are_not_trusted",
    ),
    Mutant(
        "G30",
        "a picture is made in place",
        "runs/live.py",
        "    image, support, bounds = state.image[row].detach(), state.support[row], state.bounds[row]",
        "    image, support, bounds = state.image[row].detach().mul_(state.support[row]), state.support[row], state.bounds[row]",
        "test_live.py::test_a_run_that_is_watched_has_the_same_bits",
    ),
    Mutant(
        "G30",
        "what fails in a picture ends the run",
        "live/record.py",
        "        except Exception as error:  # what is shown must not end a run",
        "        except ValueError as error:",
        "test_live.py::test_a_look_that_fails_is_a_line_in_the_log",
    ),
    Mutant(
        "G30",
        "a full disk ends the run",
        "live/record.py",
        "        except (InputError, OSError) as error:",
        "        except OSError as error:",
        "test_live.py::test_a_disk_that_is_full_is_a_note",
    ),
    Mutant(
        "G30",
        "pictures without end",
        "live/record.py",
        "        self.due = time.monotonic() + max(INTERVAL, SHARE * seconds)",
        "        self.due = time.monotonic() + INTERVAL",
        "test_live.py::test_a_picture_is_due_after_two_seconds_and_after_a_hundred_times_what_the_last_one_took",
    ),
    Mutant(
        "G31",
        "any name of the server will do",
        "show/watch/server.py",
        '        if not self._is_mine(request.headers.get("host", "")):',
        "        if False:",
        "test_watch.py::test_a_name_that_is_none_of_this_machine_is_refused",
    ),
    Mutant(
        "G31",
        "another page may press the buttons",
        "show/watch/server.py",
        '        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):',
        "        if False:",
        "test_watch.py::test_another_page_cannot_ask_for_anything",
    ),
    Mutant(
        "G31",
        "no token is needed",
        "show/watch/server.py",
        "for t in shown) else REFUSED",
        'for t in shown) else ""',
        "test_watch.py::test_everything_needs_the_token",
    ),
    Mutant(
        "G31",
        "a name in a table leads out of the folder",
        "live/watched.py",
        "        if not _is_name(name):",
        "        if not isinstance(name, str):",
        "test_watch.py::test_a_pattern_of_a_batch_is_stopped_and_skipped_by_its_number",
    ),
]


def passes(source: Path, *tests: str) -> bool:
    """True where the tests pass on this source; a test that does not exist or cannot be collected is an error."""
    told = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *(f"tests/{test}" for test in tests)]
    ended = subprocess.run(command, cwd=HOME, env=told, capture_output=True, text=True, timeout=900)
    if ended.returncode not in (0, 1) or "no tests ran" in ended.stdout:
        raise SystemExit(f"{tests} cannot be run ({ended.returncode}):\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return ended.returncode == 0


def seen(mutant: Mutant) -> bool:
    """True where the test fails on the mutant."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "untwin"
        shutil.copytree(HOME / "src" / "untwin", copy, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / mutant.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            raise SystemExit(f"{mutant.file} holds {text.count(mutant.old)} times {mutant.old!r}; expected once: put the mutant right")
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        return not passes(Path(name), mutant.test)


def table() -> None:
    """The rows of the JSON, by guarantee, between the marks of the page."""
    rows = json.loads(RESULTS.read_text())["rows"]
    lines = ["| | test | the fault it was seen to find |", "|---|---|---|"]
    for row in sorted(rows, key=lambda row: int(row["guarantee"][1:])):
        lines.append(f"| {row['guarantee']} | `{row['test']}` | {row['says']} |")
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"(?s){BEGIN}.*{END}", lambda _: "\n".join((BEGIN, *lines, END)), text), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="of some guarantees, such as G12 G13; the JSON keeps the others")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if not args.table:
        chosen = [m for m in MUTANTS if not args.only or m.guarantee in args.only]
        if not passes(HOME / "src", *sorted({m.test for m in chosen})):
            raise SystemExit("one of the tests fails on the code as it is")
        rows = json.loads(RESULTS.read_text())["rows"] if args.only and RESULTS.exists() else []
        rows = [row for row in rows if row["guarantee"] not in args.only] if args.only else []
        lived = 0
        for m in chosen:
            found = seen(m)
            print(f"{'found' if found else 'NOT FOUND':>9}  {m.guarantee:<4} {m.says}  ({m.test})", flush=True)
            lived += not found
            if found:
                rows.append({"guarantee": m.guarantee, "says": m.says, "file": m.file, "test": m.test})
            told = {"command": " ".join(["python benchmarks/mutants.py", *sys.argv[1:]]), "rows": rows}
            RESULTS.write_text(json.dumps(told, indent=1) + "\n")
        table()
        raise SystemExit(f"{lived} mutants live: their tests do not hold what they should" if lived else 0)
    table()


if __name__ == "__main__":
    main()
