"""untwin restore: a picture, by a trained denoiser or by an untrained network that knows when to stop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from untwin.cli import progress
from untwin.cli.notes import guesses_noted, note
from untwin.cli.resume import unfinished_options
from untwin.errors import InputError

if TYPE_CHECKING:
    import numpy as np

FILES = ("image", "mask", "kernel", "sampling")  # settings that name one
USUAL = {"task": "denoise", "prior": "auto", "noise": "gaussian", "seed": 0, "device": "cpu"}


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """The options of untwin restore.

    Parameters
    ----------
    task
        denoise (by default), inpaint (with --mask), superres (--factor), deblur (--kernel; without it the blur
        is found, too) or mri.
    output
        Folder for the results; by default IMAGE_restored in the current folder. It must be new or empty.
    mask
        File with the pixels of which nothing is known, nonzero = unknown; of a JPEG, above half. The
        masks of deep image prior are the inverse.
    factor
        How many times more pixels along each axis.
    kernel
        File with the blur, centred, no larger than the image.
    box
        Of an unknown blur, pixels along each axis that it is sought in; by default half the picture.
    sampling
        File with the coefficients of k-space that were measured, nonzero = measured; by default those that are not 0.
    prior
        auto, pnp (plug-and-play with a trained denoiser, seconds), tv (total variation, classical), drp (deep random
        projector) or dip (deep image prior). By default auto: pnp for grey and coloured pictures with gaussian noise, drp for all
        else. It says which and why.
    noise
        gaussian (by default), impulse, shot or speckle (multiplicative): which loss suits it.
    sigma
        Deviation of the noise for pnp and tv, black to white being 1; by default estimated from the picture, 0 for none.
    stop
        A rule for drp and dip, such as "EMV(patience=300)" or "WMV"; by default EMV for drp, HeldOut for dip.
    steps
        Of a fit (drp, dip), at most; by default 5000.
    seed
        Of the network, by default 0; the same seed repeats the run.
    device
        cpu (by default), cuda or cuda:1.
    resume
        Go on with a run that was cut short: the folder of its results. It ends with the bits that it would have had.
    overwrite
        Replace the results of an earlier run.
    """

    task: str | None = None
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None
    mask: Path | None = None
    factor: str | None = None
    kernel: Path | None = None
    box: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None
    sampling: Path | None = None
    prior: str | None = None
    noise: str | None = None
    sigma: Annotated[float | None, Parameter(validator=validators.Number(gte=0))] = None
    stop: str | None = None
    steps: Annotated[int | None, Parameter(validator=validators.Number(gte=1, lte=1_000_000))] = None
    seed: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None
    device: str | None = None
    resume: Path | None = None
    overwrite: bool = False

    def settings(self, image: Path | None) -> dict[str, Any]:
        """The settings of the restoration; None where nothing was said."""
        return {"image": image, **{k: v for k, v in vars(self).items() if k not in ("output", "resume", "overwrite")}}


def restore(image: Path | None = None, *, options: Annotated[RestoreOptions | None, Parameter(name="*")] = None) -> None:
    """Restore a picture with a trained denoiser, or an untrained network that knows when to stop: PNG, JPEG, TIFF or .npy, grey or colour.

    The folder gets result.png, result.npy, summary.json and report.html.

    Parameters
    ----------
    image
        The picture; for mri complex k-space as .npy (height, width) or (coils, height, width), zero frequency in the middle.
    """
    options = options or RestoreOptions()
    settings = options.settings(image)
    if options.resume is not None:
        others = {("IMAGE" if k == "image" else f"--{k}"): v for k, v in settings.items()}
        unfinished = unfinished_options("restore", options.resume, {**others, "--output": options.output, "--overwrite": options.overwrite})
        if unfinished is not None:
            _restore(options.resume, _settings_of(unfinished), resume=True)
        return
    if image is None:
        raise InputError("no picture given; expected untwin restore IMAGE")
    from untwin.runs.archive import fresh

    folder = fresh(options.output or Path(f"{image.stem}_restored"), options.overwrite)
    _restore(folder, {k: USUAL.get(k) if v is None else v for k, v in settings.items()})


def _settings_of(unfinished: dict[str, Any]) -> dict[str, Any]:
    """The settings that a checkpoint holds, its paths as paths."""
    settings = {k: v for k, v in unfinished.items() if not k.endswith("_sha256")}
    return {**settings, **{k: Path(settings[k]) for k in FILES if settings[k] is not None}}


def _restore(folder: Path, settings: dict[str, Any], resume: bool = False) -> None:
    from untwin.data.atomic import sha256
    from untwin.data.image import read_plane
    from untwin.runs.archive import CHECKPOINT, save_restored
    from untwin.runs.checkpoint import Checkpoint, checkpointed
    from untwin.runs.names import parse_rule
    from untwin.runs.tasks import job

    files: dict[str, Path] = {k: settings[k] for k in FILES if settings[k] is not None}
    stored = {k: str(files[k].absolute()) if k in files else settings[k] for k in settings}
    options = {"command": "restore", **{k: v for k, v in stored.items() if k not in FILES}, **{k: stored[k] for k in FILES}}
    checkpoint = Checkpoint(folder / CHECKPOINT, options)
    rule = parse_rule(settings["stop"]) if settings["stop"] is not None else None
    with guesses_noted():
        planes = {k: read_plane(path, f"the {k}", graded=k == "kernel") for k, path in files.items() if k != "image"}
        known = planes["mask"] == 0 if "mask" in planes else None
        values, scale, offset = _read_image(files["image"], settings["task"], known)
        work = job(
            values,
            settings["task"],
            settings["prior"],
            settings["noise"],
            rule,
            settings["sigma"],
            factor=_factor(settings["factor"]),
            box=settings.get("box"),
            **planes,
        )
    options |= {f"{k}_sha256": sha256(path) for k, path in files.items()}
    with checkpointed("restore", checkpoint, folder, resume, files["image"].name, "statistic") as live:
        with progress.run(live, "restoring", "statistic"):
            result = work.run(settings["seed"], settings["steps"], settings["device"], None, checkpoint, live)
        save_restored(result, folder, scale, offset, options)
        from untwin.show.restored import restored_page

        page = restored_page(result, folder / "report.html", files["image"].name)
    n = result.numbers
    for text in result.warnings:
        note(text)
    print(f"prior: {result.choice}")
    if result.verdict is not None:
        print(f"verdict: {result.verdict.text}")
        print(f"restored: a kernel of {n['kernel_height']:.0f} x {n['kernel_width']:.0f} pixels; {n['seconds']:.1f} s")
    elif "sigma" in n:
        origin = "estimated" if n["sigma_estimated"] else "given"
        print(f"restored: {n['steps']:.0f} steps for noise of {n['sigma']:.2g} ({origin}); {n['seconds']:.1f} s")
    else:
        end = "stopped" if n["stopped_itself"] else "its steps ran out"
        print(f"restored: {end} after {n['steps']:.0f} steps, the image is that of step {n['best_at']:.0f}; {n['seconds']:.1f} s")
    others = ", kernel.png, kernel.npy" if result.kernel is not None else ""
    others += ", attempt.png" if result.attempt is not None else ""
    print(f"results: {folder}/result.png, result.npy, summary.json{others}\nreport:  {page}")


def _read_image(file: Path, task: str, known: np.ndarray | None) -> tuple[np.ndarray, float, float]:
    """The picture, or for mri the k-space of every coil, and the scale and offset that lead back to the values of the file."""
    import numpy as np

    from untwin.data.image import read_array, read_image

    if task == "mri" and file.suffix == ".npy" and np.iscomplexobj(a := read_array(file, "the image")):
        if a.ndim not in (2, 3):
            raise InputError(f"{file} has shape {a.shape}; expected k-space (height, width) or (coils, height, width)")
        if not np.isfinite(a).all():
            raise InputError(f"{file} holds NaN or infinity; replace them by 0, which means not measured")
        return (a if a.ndim == 3 else a[None]), 1.0, 0.0
    image = read_image(file, known)
    return (image.values, 1.0, 0.0) if task == "mri" else (image.values, image.scale, image.offset)


def _factor(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        raise InputError(f"--factor {text}: expected a whole number from 2 to 16") from None
