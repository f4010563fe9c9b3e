"""A Reconstruction on disk: result.cxi (arrays and provenance), run.toml (repeats the run), summary.json (every number)."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import untwin
from untwin.bragg.export import FOLDER as MAPS
from untwin.bragg.export import remove_maps
from untwin.data import cxi
from untwin.data.atomic import atomic_write_bytes, atomic_write_text, require_writable
from untwin.data.typed import typed
from untwin.errors import InputError
from untwin.live.files import FOLDER as LIVE

if TYPE_CHECKING:
    from untwin.data.measurement import Pattern
    from untwin.data.object import ObjectFile
    from untwin.judge.resolution import Curve
    from untwin.model.physics import Physics
    from untwin.runs.conditions import Conditions
    from untwin.runs.deconvolve import Deconvolved
    from untwin.runs.solution import History, Reconstruction, Restored, StageEnd, Start

CHECKPOINT = "checkpoint"  # folder within that of the results, while a run is at work
FILES = ("result.cxi", "run.toml", "summary.json")
CONVENTIONS = {
    "fft_convention": "object to detector: exp(-2 pi i k r / N)",
    "axis_order": "as in the input file, slowest first; in pictures axis 0 points down",
    "centre_convention": "zero frequency of the pattern and origin of the object at pixel N//2 of every axis, counted from 0",
    "mask_meaning": "mask: 0 is a measured pixel, bit 1 one that was not used; support: 1 inside the object",
}


def settings(solution: Reconstruction) -> dict[str, Any]:
    """What repeats the run, bit for bit: the options of `untwin reconstruct`, resolved. Raises InputError where no options do.

    The pattern is that of its file where this still gives the same one, else that in the result.cxi beside.
    """
    c = solution.conditions
    if c.obstacle:
        raise InputError(f"this run cannot be repeated from its file: {c.obstacle}")
    origin = _origin(solution.pattern) or {"file": "result.cxi"}
    support = {} if c.support is None else {"support": f"result.cxi::{cxi.INITIAL_SUPPORT}"}
    return {**origin, **c.texts(), **support, "recipe": solution.recipe, "seed": solution.seed}


def _origin(pattern: Pattern) -> dict[str, Any]:
    """Options that read this very pattern from its own file; {} where it does not come from one, or no longer."""
    import warnings

    from untwin.data.read import read

    s = pattern.source
    if not s.path:
        return {}
    path = Path(s.path).absolute()
    if not _is_text([str(path), s.mask, s.flat, s.dark]):
        return {}
    options: dict[str, Any] = {"file": str(path), "data": s.dataset, "mask": s.mask, "flat": s.flat, "dark": s.dark}
    options = {k: v for k, v in (options | s.options | {"centre": s.centre and list(s.centre)}).items() if v}
    for option in ("mask", "flat", "dark", "monitor"):
        named, colons, name = str(options.get(option, "")).partition("::")
        if named and Path(named).exists():
            options[option] = str(Path(named).absolute()) + colons + name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            current = read(path, **{k: v for k, v in options.items() if k != "file"})
    except InputError:
        return {}
    same = current.shape == pattern.shape and current.offset == pattern.offset and current.geometry == pattern.geometry
    pairs = [(getattr(current, name), getattr(pattern, name)) for name in ("intensity", "measured", "sensitivity", "dark")]
    same = same and all(a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs)
    return options if same else {}


def _is_text(value: Any) -> bool:
    """False where the name of a file is not UTF-8: no text file can hold it."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _run_text(solution: Reconstruction, run: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """The run.toml and what stands in it: of a run that no options repeat a sentence that says why."""
    import tomli_w

    try:
        table = run if run is not None and _is_text(run) else settings(solution)
        return tomli_w.dumps(table), table
    except InputError as reason:
        return f"# {reason}\n", {}


def summary(solution: Reconstruction) -> dict[str, Any]:
    """Every number of a solution, ready for JSON (NaN and infinity become null)."""
    from untwin.model.physics import Physics
    from untwin.runs.conditions import reads_back

    p = solution.pattern
    return _json_ready(
        {
            "untwin": untwin.__version__,
            "verdict": dataclasses.asdict(solution.verdict),
            "numbers": solution.numbers,
            "warnings": solution.warnings,
            "reason": solution.reason,
            "made": solution.made,
            "recipe": solution.recipe,
            "method": solution.method,
            "effort": solution.effort,
            "seed": solution.seed,
            "positivity": solution.positivity,
            "conditions": solution.conditions.texts() | {"obstacle": solution.conditions.obstacle},
            "physics": None if solution.physics is None else repr(solution.physics),
            "physics_reads_back": solution.physics is not None and reads_back(solution.physics, Physics),
            "pattern": {
                "shape": p.shape,
                "photons": p.photons,
                "measured_fraction": float(p.measured.mean()),
                "asymmetry": p.asymmetry,
                "offset": p.offset,
                "geometry": dataclasses.asdict(p.geometry),
                "voxel_size": p.voxel_size,
                "source": dataclasses.asdict(p.source),
                "preparation": p.preparation,
            },
            "mode_weights": solution.mode_weights,
            "starts": [dataclasses.asdict(s) for s in solution.starts],
            "prtf": dataclasses.asdict(solution.prtf) if solution.prtf else None,
            "fsc": dataclasses.asdict(solution.fsc) if solution.fsc else None,
            "history": [dataclasses.asdict(h) for h in solution.history],
            "course": [dataclasses.asdict(end) for end in solution.course],
        }
    )


def _json_ready(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _json_ready(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


def unfinished(folder: Path) -> bool:
    """True where a run has kept what it had done, and has not come to its end."""
    return (folder / CHECKPOINT).is_dir()


def fresh(folder: Path, overwrite: bool) -> Path:
    """The folder, checked: it must not hold anything unless overwrite is set, but what a run that failed has shown. Nothing is made yet."""
    require_writable(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder that does not exist yet")
    if unfinished(folder) and not overwrite:
        from untwin.runs.checkpoint import metadata

        options = (metadata(folder / CHECKPOINT) or {"options": {}})["options"]
        command = f"untwin {options.get('command', 'reconstruct')} --resume {typed(folder)}"
        raise InputError(f"{folder} holds a run that has not ended; go on with: {command}, or begin anew with overwrite=True (--overwrite)")
    if folder.exists() and any(path.name != LIVE for path in folder.iterdir()) and not overwrite:
        raise InputError(f"{folder} exists and is not empty; choose another folder or overwrite=True (--overwrite)")
    return folder


def save(solution: Reconstruction, folder: Path, overwrite: bool = False, run: dict[str, Any] | None = None) -> Path:
    """Write the three files; each is complete or not there. Strain maps of an earlier result there are removed. run: what run.toml holds,
    by default what the solution knows; where no options repeat the run, a sentence that says why. Raises InputError where the folder holds
    something already."""
    import torch

    fresh(folder, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    remove_maps(folder / MAPS)
    text, table = _run_text(solution, run)
    image = solution.image.numpy()
    process = {
        "program": "untwin",
        "version": untwin.__version__,
        "recipe": solution.recipe,
        "seed": solution.seed,
        "positivity": int(solution.positivity),
        "torch_version": str(torch.__version__),
        "numpy_version": np.__version__,
        "input_file": solution.pattern.source.path or "",
        "input_sha256": solution.pattern.source.sha256 or "",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **CONVENTIONS,
        **{k: v for k, v in solution.made.items() if k in ("commit", "device", "threads", "workers", "engine", "python")},
        "parameters": json.dumps(table),
        "verdict": solution.verdict.text,
        "summary": json.dumps(summary(solution)),
    }
    cxi.write_result(
        folder / "result.cxi",
        image=image,
        support=solution.support.numpy(),
        pattern=solution.pattern,
        process=process,
        modes=None if solution.modes is None else solution.modes.numpy(),
        mode_weights=solution.mode_weights,
        replicas=None if solution.replicas is None else solution.replicas.numpy(),
        voxel_size=solution.pattern.voxel_size,
        initial_support=solution.conditions.support,
    )
    atomic_write_text(folder / "run.toml", text)
    atomic_write_text(folder / "summary.json", json.dumps(summary(solution), indent=1))
    return folder


def load(folder: str | Path) -> Reconstruction:
    """The Reconstruction that `save` wrote. Raises InputError where there is none."""
    from untwin.data.object import read_object

    folder = Path(folder)
    path = folder / "result.cxi" if folder.is_dir() else folder
    if not path.is_file():
        raise InputError(f"no result.cxi in {folder}; expected a folder that untwin reconstruct has written")
    stored = read_object(path)
    if "summary" not in stored.process:
        raise InputError(f"{path} is not a result of untwin; expected a folder that untwin reconstruct has written")
    try:
        return _reconstruction(path, stored, json.loads(str(stored.process["summary"])))
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} is not a result of untwin ({type(error).__name__}: {error}); expected one that untwin reconstruct has written"
        ) from None


def _reconstruction(path: Path, stored: ObjectFile, record: dict[str, Any]) -> Reconstruction:
    """What a result and its summary hold. Raises whatever a summary of another kind leads to."""
    import torch

    from untwin.data.read import read
    from untwin.judge.trust import Verdict
    from untwin.runs.solution import Reconstruction

    modes, replicas, pattern = cxi.read_modes(path), cxi.read_replicas(path), read(path)
    if (pattern.optics is None and pattern.shape != stored.image.shape) or any(
        k is not None and k.shape[1:] != stored.image.shape for k in (modes, replicas)
    ):
        raise ValueError(f"an object of shape {stored.image.shape} with a pattern of {pattern.shape}")
    physics, doubts = _physics(record)
    return Reconstruction(
        image=torch.from_numpy(stored.image),
        support=torch.from_numpy(np.asarray(stored.support)),
        pattern=pattern,
        recipe=_valid(str, record["recipe"]),
        seed=_valid(int, record["seed"]),
        positivity=_valid(bool, record["positivity"]),
        physics=physics,
        conditions=_conditions(path, record),
        method=_valid(str, record.get("method", "auto")),
        effort=_valid(float, record.get("effort", 1.0)),
        verdict=_valid(Verdict, record["verdict"]),
        numbers={k: _float_or_nan(v) for k, v in record["numbers"].items()},
        starts=tuple(map(_start, record["starts"])),
        history=tuple(map(_history, record["history"])),
        course=tuple(map(_stage_end, record.get("course", ()))),
        prtf=_curve(record["prtf"]),
        fsc=_curve(record["fsc"]),
        modes=None if modes is None else torch.from_numpy(modes),
        mode_weights=_valid(tuple[float, ...], record["mode_weights"]),
        replicas=None if replicas is None else torch.from_numpy(replicas),
        warnings=_valid(tuple[str, ...], record["warnings"]) + doubts,
        reason=_valid(str, record.get("reason", "")),
        made=_valid(dict[str, str | int], record.get("made", {})),
    )


def _valid(kind: Any, values: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind).validate_python(values)


def _start(s: dict) -> Start:
    from untwin.runs.solution import Start

    return _valid(Start, {**s, **{k: _float_or_nan(s[k]) for k in ("r_factor", "score", "error")}})


def _history(h: dict) -> History:
    from untwin.runs.solution import History

    return _valid(History, {**h, "r_factor": tuple(map(_float_or_nan, h["r_factor"]))})


def _stage_end(e: dict) -> StageEnd:
    from untwin.runs.solution import StageEnd

    return _valid(StageEnd, {**e, "r_factor": tuple(map(_float_or_nan, e["r_factor"]))})


def _curve(c: dict | None) -> Curve | None:
    from untwin.judge.resolution import Curve

    return None if c is None else _valid(Curve, {**c, "value": tuple(map(_float_or_nan, c["value"]))})


def _physics(record: dict[str, Any]) -> tuple[Physics | None, tuple[str, ...]]:
    """As the summary has it, the far field where an earlier version has none; None, and a sentence, where it is one of a user's own."""
    from untwin.model.physics import Physics
    from untwin.runs.names import parse_model

    text = _valid(str | None, record.get("physics", ""))
    if text is None:
        return None, ()  # saved again, with the sentence among its warnings
    try:
        physics = parse_model(text or "Physics", Physics)
        if record.get("physics_reads_back", True):
            return physics, ()
    except InputError:
        pass
    return None, (f"its physics {text} is not known here; the calculated intensity is not shown",)


def _conditions(path: Path, record: dict[str, Any]) -> Conditions:
    """Earlier versions have positivity alone."""
    from untwin.runs.conditions import Conditions

    texts = record.get("conditions", {"positivity": record["positivity"]})
    return Conditions(**_valid(dict[str, bool | str], texts), support=cxi.read_initial_support(path))


def _float_or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def save_restored(restored: Restored, folder: Path, scale: float = 1.0, offset: float = 0.0, options: dict[str, Any] | None = None) -> Path:
    """Write result.npy (in the file's own numbers), result.png (of complex images the magnitude) and summary.json into a folder.
    options: named in summary.json."""
    from untwin.data.image import write_image

    folder.mkdir(parents=True, exist_ok=True)
    values = restored.image.numpy()
    buffer = io.BytesIO()
    own = offset + scale * values
    np.save(buffer, np.moveaxis(own, 0, -1) if len(own) > 1 else own[0])
    atomic_write_bytes(folder / "result.npy", buffer.getvalue())
    visible = np.abs(values) if np.iscomplexobj(values) else values
    write_image(folder / "result.png", plane(visible) / max(1.0, float(visible.max())))
    _save_kernel(restored, folder)
    if restored.attempt is None:
        (folder / "attempt.png").unlink(missing_ok=True)
    else:
        write_image(folder / "attempt.png", plane(restored.attempt.numpy()).clip(0, 1))
    content: dict[str, Any] = {"untwin": untwin.__version__, "made": restored.made, "recipe": restored.recipe, "seed": restored.seed}
    content |= {"axis_order": "as in the picture's file; channels last in result.npy", "options": options or {}}
    content |= {"prior": restored.choice, "numbers": restored.numbers, "warnings": restored.warnings}
    content |= {"statistic": [v if math.isfinite(v) else None for v in restored.statistic], "variance": restored.variance}
    if restored.verdict is not None:
        content |= {"verdict": dataclasses.asdict(restored.verdict)}
    atomic_write_text(folder / "summary.json", json.dumps(content, indent=1))
    return folder


def _save_kernel(restored: Restored, folder: Path) -> None:
    """kernel.npy, of sum 1, and kernel.png, its greatest value white; those of an earlier run are taken away where there is none."""
    from untwin.data.image import write_image

    if restored.kernel is None:
        for name in ("kernel.npy", "kernel.png"):
            (folder / name).unlink(missing_ok=True)
        return
    kernel = restored.kernel.numpy()
    buffer = io.BytesIO()
    np.save(buffer, kernel)
    atomic_write_bytes(folder / "kernel.npy", buffer.getvalue())
    write_image(folder / "kernel.png", kernel[None] / max(float(kernel.max()), 1e-30))


def plane(image: np.ndarray) -> np.ndarray:
    """(channels, height, width), grey or three colours: of a volume the middle plane, of other channels the first."""
    image = image[:, image.shape[1] // 2] if image.ndim == 4 else image
    return image if len(image) in (1, 3) else image[:1]


def save_deconvolved(result: Deconvolved, folder: Path, options: dict[str, Any] | None = None) -> Path:
    """Write it into a folder that was checked. options: of a command, for summary.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("motifs", "maps", "residual"):
        buffer = io.BytesIO()
        np.save(buffer, getattr(result, name))
        atomic_write_bytes(folder / f"{name}.npy", buffer.getvalue())
    content = {
        "untwin": untwin.__version__,
        "verdict": dataclasses.asdict(result.verdict),
        "numbers": {k: v if math.isfinite(v) else None for k, v in result.numbers.items()},
        "warnings": result.warnings,
        "bias": result.bias.tolist(),
        "noise": result.noise.tolist(),
        "axis_order": "motifs.npy: motif, channel, row, column; maps.npy: motif, row, column, at the middle (rows // 2, columns // 2)",
        "starts": [{"objective": c, "number": n, "correlation": r} for c, n, r in result.starts],
        "settings": result.settings,
        "options": options or {},
        "made": result.provenance,
    }
    atomic_write_text(folder / "summary.json", json.dumps(content, indent=1))
    return folder
