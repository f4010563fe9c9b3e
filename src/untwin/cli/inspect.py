"""untwin inspect, untwin compare, untwin doctor: what is in a file, how far apart two objects are, what the machine offers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from untwin.cli.notes import read_pattern
from untwin.errors import InputError

if TYPE_CHECKING:
    from untwin.data.dataset import Manifest
    from untwin.data.measurement import Pattern


def inspect(
    file: Path,
    *,
    data: str | None = None,
    mask: str | None = None,
    flat: str | None = None,
    dark: str | None = None,
    centre: str | None = None,
    picture: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Say what is in a file and what untwin would make of it; of a data set, what it is, with a contact sheet.

    Parameters
    ----------
    file
        The pattern, or the folder of a data set.
    data
        Dataset (HDF5) or array (npz) to take.
    mask
        File or dataset with the bad pixels, nonzero = bad.
    flat
        File or dataset with what the detector counts where the same light falls on every pixel; 0 or NaN = dead.
    dark
        File or dataset with the counts of a pixel without light, in the time of one frame.
    centre
        Zero frequency in the file's pixels, such as 40,40.5; by default found.
    picture
        Draw the pattern into this PNG; of a data set, the contact sheet: without it, into contact.png in its folder.
    overwrite
        Replace a picture of this name.
    """
    from untwin.config import resolved
    from untwin.data.centre import REAL
    from untwin.data.dataset import is_dataset

    require_picture_name(picture, overwrite)
    if is_dataset(file):
        _inspect_dataset(file, picture)
        return
    named = {"data": data, "mask": mask, "flat": flat, "dark": dark}
    options = {"file": file, **named, "centre": centre and centre.split(",")}
    run = resolved(None, {k: v for k, v in options.items() if v is not None})
    pattern = read_pattern(run)
    following = f"untwin reconstruct {file}" + "".join(f" --{k} {v}" for k, v in named.items() if v and (flat or dark))
    following += " --positivity" if pattern.asymmetry < REAL else ""
    _print_rows([*_pattern_rows(file, pattern), *_detector_rows(pattern), ("next", following)])
    if picture:
        from untwin.show.pattern import plot_pattern
        from untwin.show.style import save_figure

        save_figure(plot_pattern(pattern), picture)
        _print_rows([("picture", str(picture))])


def _print_rows(rows: list[tuple[str, str]]) -> None:
    for name, text in rows:
        print(f"{name:>13}  {text}")


def _pattern_rows(file: Path, pattern: Pattern) -> list[tuple[str, str]]:
    from untwin.data.centre import REAL

    source, bad = pattern.source, int((~pattern.measured).sum())
    centre = ", ".join(f"{c:g}" for c in source.centre or ())
    rows = [
        ("file", f"{file}" + (f" :: {source.dataset}" if source.dataset else "")),
        ("shape", " x ".join(map(str, source.shape or pattern.shape)) + f", used as {' x '.join(map(str, pattern.shape))}"),
        ("photons", f"{pattern.photons:.3g} in all, {float(pattern.intensity.max()):,.0f} in the brightest pixel"),
        ("not measured", f"{bad:,} pixels ({100 * bad / pattern.measured.size:.3g} %)"),
        ("centre", f"({centre}) in the file's pixels"),
    ]
    if pattern.asymmetry < REAL:
        rows.append(("symmetry", f"its own mirror image (asymmetry {pattern.asymmetry:.2g}): the object is real, try --positivity"))
    elif pattern.asymmetry == pattern.asymmetry:
        rows.append(("symmetry", f"not its own mirror image (asymmetry {pattern.asymmetry:.2g}): the object is complex"))
    if pattern.geometry.wavelength:
        rows.append(("wavelength", f"{pattern.geometry.wavelength * 1e10:.4g} angstrom"))
    if pattern.voxel_size:
        rows.append(("object pixel", " x ".join(f"{v * 1e9:.3g}" for v in pattern.voxel_size) + " nm"))
    return rows


def _detector_rows(pattern: Pattern) -> list[tuple[str, str]]:
    """What the counts alone say of the detector: pixels that are not the object's light, and what lies under the rest."""
    from untwin.data.outliers import outliers
    from untwin.model.background import flat_background

    strange = outliers(pattern)
    floor = flat_background(strange.masked(pattern))
    clipped = [w for w in (*pattern.warnings, *strange.sentences) if "saturat" in w]
    hot = int(strange.hot.sum())
    bright = (
        f"{hot}, up to {float(pattern.intensity[strange.hot].max(initial=0)):,.0f} counts: far brighter than light beside its neighbours"
    )
    return [
        ("hot pixels", bright if hot else "none seen"),
        ("saturated", "; ".join(clipped) or "none seen"),
        *_flat_rows(pattern),
        ("background", "not known: these are no counts, or few are dark" if floor is None else str(floor)),
        *_fringe_rows(strange.masked(pattern)),
    ]


def _fringe_rows(pattern: Pattern) -> list[tuple[str, str]]:
    """What can be said of partial coherence before a reconstruction; nothing where nobody looked."""
    from untwin.model.fringes import blur_bound

    bound = blur_bound(pattern)
    if bound is None:
        return []
    limit = f"a blur by less than {bound:g} pixels" if bound < float("inf") else "a blur by a pixel and more, or no fringes"
    return [("coherence", f"the fringes allow {limit}; a reconstruction tells how much there is")]


def _flat_rows(pattern: Pattern) -> list[tuple[str, str]]:
    import numpy as np

    rows = []
    if pattern.sensitivity is not None:
        low, high = np.quantile(pattern.sensitivity[pattern.measured], (0.01, 0.99))
        rows.append(("flat", f"98 % of the pixels count {low:.2f} to {high:.2f} of the mean (in the model)"))
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
    overwrite: bool = False,
) -> None:
    """Align two objects (shift, twin, global phase) and say how far apart they are.

    Parameters
    ----------
    a
        A result folder, a result.cxi, or an .npy or .npz with a complex object.
    b
        The same; a is moved onto it.
    picture
        Draw both, aligned, into this PNG.
    overwrite
        Replace a picture of this name.
    """
    require_picture_name(picture, overwrite)
    print_comparison(a, b, picture, (a.name, b.name))


def print_comparison(a: Path, b: Path, picture: Path | None, names: tuple[str, str]) -> None:
    """Align object a with object b, print how far apart they are, and draw both where a picture is asked for."""
    from untwin.data.object import read_object

    first, second = (read_object(p / "result.cxi" if p.is_dir() else p) for p in (a, b))
    if first.image.shape != second.image.shape:
        raise InputError(f"{a} holds an object of shape {first.image.shape}, {b} of {second.image.shape}; expected the same")
    from untwin.judge.compare import compared

    c = compared(first.image, second.image)
    orientation = "the twin, turned" if c.twin else "not turned"
    print(
        f"error after alignment {c.error:.4f} (correlation {c.correlation:.4f}, {orientation}); phase differs by {c.phase_rms:.3f} rad rms"
    )
    print(f"Fourier shell correlation above 0.5 up to {0.5 if c.fsc.crossing is None else c.fsc.crossing:.3f} cycles per pixel")
    if picture:
        from untwin.show.object import compare_figure
        from untwin.show.style import save_figure

        save_figure(compare_figure(c.aligned, second.image, second.voxel_size or first.voxel_size, names), picture)
        print(f"picture: {picture}")


def doctor() -> None:
    """Say what this machine offers, and what would help."""
    from untwin.doctor import findings

    for name, text in findings():
        print(f"{name:>18}  {text}")
