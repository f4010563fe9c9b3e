"""untwin inspect, untwin compare, untwin doctor: what is in a file, how far apart two objects are, what the machine offers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from untwin.cli.notes import fitted, guesses_noted, read_pattern
from untwin.cli.reading import ReadOptions
from untwin.data.typed import amount, typed
from untwin.errors import InputError

GOES_ON = 1.0  # counts per pixel at the edge: more than nothing, so that pixels beyond it would have counted, too

if TYPE_CHECKING:
    from untwin.data.dataset import Manifest
    from untwin.data.measurement import Pattern
    from untwin.data.realness import Realness


def inspect(
    file: Path,
    *,
    reading: Annotated[ReadOptions | None, Parameter(name="*")] = None,
    picture: Path | None = None,
    overwrite: bool = False,
) -> None:
    """The first look: what is in a file, what its values say of detector, beam and sampling, and what untwin would make of it.

    Of a data set, what it is, with a contact sheet.

    Parameters
    ----------
    file
        The pattern: a file, a folder of frames or a 'scan_*.tif' as for reconstruct; or the folder of a data set.
    picture
        Draw the pattern into this PNG; of a data set, the contact sheet: without it, into contact.png in its folder.
    overwrite
        Replace a picture of this name.
    """
    from untwin.config import resolved
    from untwin.data.dataset import is_dataset
    from untwin.data.realness import realness

    require_picture_name(picture, overwrite)
    if is_dataset(file):
        _inspect_dataset(file, picture)
        return
    reading = reading or ReadOptions()
    run = resolved(None, {k: v for k, v in reading.settings(file).items() if v is not None})
    pattern = read_pattern(run)
    following = f"untwin reconstruct {typed(file)}{reading.text()}"
    if pattern.optics is not None:
        _inspect_exposures(file, pattern, following, picture)
        return
    symmetry = realness(pattern)
    following += " --positivity" if symmetry.real else ""
    _print_rows([*_pattern_rows(file, pattern, symmetry), *_detector_rows(pattern), ("next", following)])
    if picture:
        from untwin.show.style import save_figure

        save_figure(pattern.plot(), picture)
        _print_rows([("picture", str(picture))])


def _inspect_exposures(file: Path, pattern: Pattern, following: str, picture: Path | None) -> None:
    """Several exposures of one object: what they are, and with which masks or at which distances. Raises InputError where these do not
    fit the array."""
    from untwin.model.physics import default_physics

    default_physics(pattern).on(pattern)
    optics, bad = pattern.optics, int((~pattern.measured).sum())
    assert optics is not None
    if optics.masks is not None:
        kind = f"far fields behind masks of {' x '.join(map(str, optics.masks.shape[1:]))}"
    else:
        kind = f"near fields, Fresnel numbers of a pixel {', '.join(f'{v:.3g}' for v in optics.fresnel_numbers)}"
    per_exposure = " x ".join(map(str, pattern.shape[1:]))
    _print_rows(
        [
            ("file", f"{file} :: {pattern.source.dataset}" if pattern.source.dataset else str(file)),
            ("exposures", f"{pattern.shape[0]} of {per_exposure}: {kind}"),
            ("numbers", _numbers_text(pattern)),
            ("photons" if pattern.counted else "intensity", _light_text(pattern)),
            ("not measured", f"{amount(bad, 'pixel')} ({100 * bad / pattern.measured.size:.3g} %)"),
            ("next", following),
        ]
    )
    if picture:
        from untwin.show.style import save_figure

        save_figure(pattern.plot(), picture)
        _print_rows([("picture", str(picture))])


def _print_rows(rows: list[tuple[str, str]]) -> None:
    for name, text in rows:
        row = f"{name:>13}  {text}"
        print(row if name == "next" else fitted(row, " " * 15))


def _pattern_rows(file: Path, pattern: Pattern, symmetry: Realness) -> list[tuple[str, str]]:
    source, bad = pattern.source, int((~pattern.measured).sum())
    centre = ", ".join(f"{c:g}" for c in source.centre or ())
    rows = [
        ("file", (str(file) if str(file).isprintable() else typed(file)) + (f" :: {source.dataset}" if source.dataset else "")),
        ("shape", " x ".join(map(str, source.shape or pattern.shape)) + f", used as {' x '.join(map(str, pattern.shape))}"),
        ("numbers", _numbers_text(pattern)),
        ("photons" if pattern.counted else "intensity", _light_text(pattern)),
        ("not measured", f"{amount(bad, 'pixel')} ({100 * bad / pattern.measured.size:.3g} %)"),
        ("centre", f"({centre}) in the file's pixels"),
        ("symmetry", str(symmetry)),
    ]
    if pattern.geometry.wavelength:
        rows.append(("wavelength", f"{pattern.geometry.wavelength * 1e10:.4g} angstrom"))
    if pattern.voxel_size:
        rows.append(("object pixel", " x ".join(f"{v * 1e9:.3g}" for v in pattern.voxel_size) + " nm"))
    return rows


def _light_text(pattern: Pattern) -> str:
    return f"{pattern.photons:.3g} in all, {float(pattern.intensity.max()):,.0f} in the brightest pixel"


def _numbers_text(pattern: Pattern) -> str:
    """What the numbers are, and what was undone to come to the photons."""
    noise = pattern.noise
    if noise is None or (noise.gain, noise.offset, noise.form) == (1, 0, "intensity"):
        return "counts of photons" if pattern.counted else "no counts of photons: nothing can be said of their noise"
    undone = f"{noise.form}, gain {noise.gain:.4g}, offset {noise.offset:.4g}"
    return f"{'photons' if pattern.counted else 'no counts of photons, brought to nearly their scatter'}, of the file's numbers ({undone})"


def _detector_rows(pattern: Pattern) -> list[tuple[str, str]]:
    """What the values alone say of the detector, the beam and the sampling."""
    from untwin.judge.look import look

    first = look(pattern)
    one_sided = "not known: these are no counts" if first.strays != first.strays else "none seen"
    if first.strays > 0:
        share = f"{100 * first.strays:.2g} % of the photons"
        one_sided = f"{share} lie where the mirror image of the pattern is dark: by another crystal, or by the phase of this object"
    background = "not known: these are no counts, or few are dark" if first.background is None else str(first.background)
    return [
        ("oversampling", _oversampling_text(first.oversampling)),
        ("hot pixels", "; ".join(first.hot) or "none seen"),
        ("saturated", "; ".join(first.clipped) or "none seen"),
        ("gaps", "; ".join(first.gaps) or "none seen"),
        *_flat_rows(pattern),
        ("background", background),
        ("one-sided", one_sided),
        *_fringe_row(first.blur),
        ("at the edges", _faces_text(first.faces, pattern.counted)),
    ]


def _oversampling_text(ratios: tuple[float, ...]) -> str:
    text = _times(ratios, 2)
    if any(r != r for r in ratios):
        text += " (?: 2 or less, or other light is there: the autocorrelation goes on through half of the array)"
    return text + ("" if all(r >= 2 for r in ratios) else ": below 2 a support alone gives no unique answer")


def _fringe_row(bound: float | None) -> list[tuple[str, str]]:
    """What can be said of partial coherence before a reconstruction; nothing where nobody looked."""
    if bound is None:
        return []
    limit = f"a blur by less than {bound:g} pixels" if bound < float("inf") else "a blur by a pixel and more, or no fringes"
    return [("coherence", f"the fringes allow {limit}; a reconstruction tells how much there is")]


def _faces_text(faces: tuple[float, ...], counted: bool) -> str:
    text = _times(faces, 2, " and ") + (" counts" if counted else "") + " per pixel, one number for each axis"
    goes_on = [str(axis) for axis, mean in enumerate(faces) if mean > GOES_ON]
    return text + (f"; along axis {', '.join(goes_on)} the pattern goes on beyond the detector" if goes_on and counted else "")


def _times(values: tuple[float, ...], digits: int, between: str = " x ") -> str:
    return between.join("?" if v != v else f"{v:.{digits}g}" if abs(v) < 100 else f"{v:.0f}" for v in values)


def _flat_rows(pattern: Pattern) -> list[tuple[str, str]]:
    import numpy as np

    rows = []
    if pattern.sensitivity is not None:
        low, high = np.quantile(pattern.sensitivity[pattern.measured], (0.01, 0.99))
        rows.append(("sensitivity", f"98 % of the pixels count {low:.2f} to {high:.2f} of the mean (in the model)"))
    if pattern.dark is not None:
        dark = pattern.dark[pattern.measured]
        rows.append(("dark", f"{dark.mean(dtype=np.float64):.3g} counts per pixel, up to {dark.max():.3g} (in the model)"))
    return rows


def _inspect_dataset(folder: Path, picture: Path | None) -> None:
    from untwin.data.dataset import read_manifest

    manifest = read_manifest(folder)
    _print_rows(_dataset_rows(folder, manifest))
    if not manifest.missing(folder):
        sheet = picture or folder / "contact.png"
        _draw_contact_sheet(folder, manifest, sheet)
        _print_rows([("picture", str(sheet))])


def _dataset_rows(folder: Path, manifest: Manifest) -> list[tuple[str, str]]:
    m, missing = manifest, manifest.missing(folder)
    complete = f"{m.shards:,}, complete" if not missing else f"{m.shards - len(missing):,} of {m.shards:,}"
    rows = [
        ("data set", str(folder)),
        ("recipe", m.recipe if m.recipe == m.text else f"{m.recipe}: {m.text}"),
        ("samples", f"{m.count:,} of {' x '.join(map(str, m.shape))}, seed {m.seed}" + ("" if m.objects else ", without objects")),
        ("shards", f"{complete}, {m.shard:,} samples each"),
        ("made with", ", ".join(f"{name} {version}" for name, version in m.versions.items())),
    ]
    if missing:
        rows.append(("go on with", m.command(folder)))
    return rows


def _draw_contact_sheet(folder: Path, manifest: Manifest, picture: Path) -> None:
    from untwin.data.dataset import Shards
    from untwin.show.contact import contact_sheet
    from untwin.show.style import save_figure

    m, shards = manifest, Shards(folder)
    n = min(m.count, 24 if len(m.shape) == 2 else 12)
    planes = "" if len(m.shape) == 2 else ": the planes z, y, x through the middle"
    recipe = m.recipe if len(m.recipe) < 40 else "a recipe"
    title = f"{recipe}  samples 0 to {n - 1} of {m.count:,}, {' x '.join(map(str, m.shape))}, seed {m.seed}{planes}"
    save_figure(contact_sheet([shards[i] for i in range(n)], title), picture)


def require_picture_name(picture: Path | None, overwrite: bool) -> None:
    """InputError where a picture of this name cannot be written."""
    from untwin.data.atomic import new_file

    if picture:
        new_file(picture, (".png", ".pdf", ".svg"), overwrite)


def compare(
    a: Path,
    b: Path,
    *,
    picture: Annotated[Path | None, Parameter(name=["--picture", "-o"])] = None,
    twin: bool = False,
    flip: str = "",
    overwrite: bool = False,
) -> None:
    """Align two objects (shift, twin, global phase, phase ramp) and say how far apart they are.

    Parameters
    ----------
    a
        A result folder, a result.cxi, or an .npy, .npz, HDF5 or MATLAB 7.3 file with a complex object; FILE::NAME chooses an array.
    b
        The same; a is moved onto it.
    picture
        Draw both, aligned, into this PNG.
    twin
        Draw the twins of both.
    flip
        Axes that are drawn in the other direction, such as y. Both change the picture alone.
    overwrite
        Replace a picture of this name.
    """
    require_picture_name(picture, overwrite)
    if (twin or flip) and picture is None:
        raise InputError("--twin and --flip are for the picture; give its name with -o FILE.png")
    print_comparison(a, b, picture, (_short(a), _short(b)), twin, flip)


def _short(path: Path) -> str:
    """The name of a file, with that of the array in it."""
    file, colons, name = str(path).partition("::")
    return Path(file).name + colons + name


def print_comparison(a: Path, b: Path, picture: Path | None, names: tuple[str, str], twin: bool = False, flip: str = "") -> None:
    """Align object a with object b, print how far apart they are, and draw both where a picture is asked for, as their twins, or with axes
    that are flipped."""
    from untwin.data.object import read_object

    with guesses_noted():
        first, second = (read_object(p / "result.cxi" if p.is_dir() else p) for p in (a, b))
    if first.image.shape != second.image.shape:
        raise InputError(f"{a} holds an object of shape {first.image.shape}, {b} of {second.image.shape}; expected the same")
    from untwin.judge.compare import compare as comparison

    c = comparison(first.image, second.image)
    orientation = "the twin, turned" if c.twin else "not turned"
    print(
        f"error after alignment {c.error:.4f} (correlation {c.correlation:.4f}, {orientation}); phase differs by {c.phase_rms:.3f} rad rms"
    )
    if any(c.ramp):
        ramp = ", ".join(f"{round(g, 2) + 0.0:.2f}" for g in c.ramp)
        print(
            f"a phase ramp of ({ramp}) detector pixels was taken out (E = {c.error_with_ramp:.4f} with it): so far does the zero frequency "
            f"of {names[1]} lie from that of {names[0]}"
        )
    print(f"Fourier shell correlation above 0.5 up to {0.5 if c.fsc.crossing is None else c.fsc.crossing:.3f} cycles per pixel")
    if picture:
        from untwin.show.object import compare_figure
        from untwin.show.orientation import Orientation
        from untwin.show.style import save_figure

        voxel = second.voxel_size or first.voxel_size
        save_figure(compare_figure(c.aligned, second.image, voxel, names, Orientation(twin, flip)), picture)
        print(f"picture: {picture}")


def doctor() -> None:
    """Say what this machine offers, and what would help."""
    from untwin.doctor import findings

    for name, text in findings():
        print(f"{name:>18}  {text}")
