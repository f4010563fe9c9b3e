"""What a file says of the pixels beside the data: masks, what the detector cannot count; and what of it is not used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from untwin.data import nexus
from untwin.data.hdf5 import Tree, attribute
from untwin.data.matlab import entry_of
from untwin.data.nexus import Group
from untwin.data.typed import amount
from untwin.errors import InputError

# NXdetector: pixel_mask, pixel_mask_N; NXdata: DATANAME_mask (below); mask: CXI and silx; the others: what beamlines write
_MASK = re.compile(r"((bad_?)?pixel_?|detector_?|(bad|dead|hot)_?)?mask(_\d+)?|(bad|dead|hot)_?pixels?", re.IGNORECASE)
_OTHER = re.compile(
    r"flat(_?field)?(_correction)?|white_?field|(dark|background)(_?field|_?current|_?frame)?|pedestal|gain(_?map)?|efficiency|sensitivity"
    r"|countrate_correction(_\w*table)?|.*mask.*",
    re.IGNORECASE,
)
_SIGNAL = 0x1000 | 0x10000  # bits of a CXI mask that are no fault: has signal; used by untwin for "inside the object"
_MOST = 0.2  # of the pixels: a limit that forbids more does not belong to these data
_NEAR = 2  # pixels: a beam centre is not known better
_FAST = 1e5  # counts per second and pixel from which photon counters lose 1 % and more (dead times of 100 ns and more)


@dataclass(frozen=True, eq=False)
class Belongings:
    """masks: True where bad, by the path of each. limited: bool, what the detector cannot have counted right; None where nothing is."""

    masks: dict[str, np.ndarray] = field(default_factory=dict)
    limited: np.ndarray | None = None

    @property
    def bad(self) -> np.ndarray | None:
        """All masks together."""
        bad = None
        for mask in self.masks.values():
            bad = mask if bad is None else bad | mask
        return bad


def is_companion(path: str) -> bool:
    """True for an array that by its name goes with data, and is none."""
    name = path.rsplit("/", 1)[-1]
    return bool(_MASK.fullmatch(name) or _OTHER.fullmatch(name))


def is_bad(mask: np.ndarray, path: str = "") -> np.ndarray:
    """True where a pixel is not to be trusted. In the bits of CXI 'has signal' is no fault; in a pixel_mask of NeXus every bit is one."""
    if mask.dtype.kind in "iu" and mask.dtype.itemsize > 2 and "pixel" not in path.rsplit("/", 1)[-1].lower():
        return (mask & ~np.array(_SIGNAL, mask.dtype)) != 0
    return mask != 0


def without_nan(mask: np.ndarray, name: str, guesses: list[str]) -> np.ndarray:
    """NaN in a mask of floats is a bad pixel, and a sentence."""
    if mask.dtype.kind != "f" or not (n := int(np.isnan(mask).sum())):
        return mask
    guesses.append(f"{amount(n, 'pixel')} of the mask {name} {'is' if n == 1 else 'are'} NaN: taken as bad")
    return np.nan_to_num(mask, nan=1.0)


def belongings(
    tree: Tree, path: str, node: Any, values: np.ndarray, masked: bool, guesses: list[str], named: Sequence[str] = ()
) -> Belongings:
    """What belongs to the data at `path`. node: a dataset, or the group of a series. masked: the user has named a mask, so that
    those of the file are left alone. named: paths of what the user has named, which is used."""
    groups = nexus.groups_of(tree, path, node)
    root = Group("/", tree.root)
    used = {nexus.address(d) for name in named if (d := nexus.dataset(tree, root, name)) is not None}
    masks, unused, other_shape = {}, [], {}
    for name, (is_mask, array) in _arrays(tree, groups, path, node).items():
        if is_mask and masked:
            continue
        if is_mask and _fits(entry_of(array, name).shape, values.shape):
            masks[name] = _loaded(tree, name, array, guesses)
        elif is_mask and name.endswith("/mask"):
            other_shape[name] = array
        elif nexus.address(array) not in used and (is_mask or _matters(tree, groups, name, array)):
            unused.append(name)
    if other_shape and not masks:  # it is meant for these data: whoever compares the shapes says what does not fit
        name, array = other_shape.popitem()
        masks[name] = _loaded(tree, name, array, guesses)
    unused += other_shape
    if len(masks) > 1:
        guesses.append(f"{len(masks)} masks go with the data and are combined: {', '.join(masks)}; mask= (--mask) takes one alone")
    if unused:
        guesses.append(f"what goes with the data is not used: {', '.join(unused)}. A flat field, a dark and a mask can be named as options")
    return Belongings(masks, _limited(tree, groups, values, Belongings(masks).bad, guesses))


def beam_centre(tree: Tree, groups: tuple[Group, ...]) -> tuple[float, float] | None:
    """(y, x) of the direct beam on the detector, pixels; None where the file does not say."""
    for group in groups:
        y, x = _constant(tree, group, "beam_center_y"), _constant(tree, group, "beam_center_x")
        units = nexus.units_of(tree, group, "beam_center_x").lower()
        if y is not None and x is not None and (units in ("", "px") or "pixel" in units):
            return y, x
    return None


def other_beam(
    beam: tuple[float, float] | None, centre: tuple[float, ...], shape: tuple[int, ...], requested: Sequence[float] | None
) -> list[str]:
    """A sentence where the direct beam falls on a 2D pattern, and not where its zero frequency is taken to be. A Bragg peak lies elsewhere,
    so that nothing follows from it but a question; a rocking curve has none."""
    if beam is None or requested is not None or len(shape) != 2 or not all(0 < b < n - 1 for b, n in zip(beam, shape)):
        return []
    if all(abs(b - c) <= _NEAR for b, c in zip(beam, centre)):
        return []
    point = f"{beam[0]:g},{beam[1]:g}"
    return [
        f"the file has the direct beam at ({point}), the zero frequency is taken at ({centre[0]:g},{centre[1]:g}). This is right for a "
        f"Bragg peak; for forward scattering say centre=({point}) (--centre {point})"
    ]


def _arrays(tree: Tree, groups: tuple[Group, ...], path: str, node: Any) -> dict[str, tuple[bool, Any]]:
    """By path: is it a mask by its name or by an attribute, and the dataset. Each once, nearest first; not the data themselves."""
    own = {n.rsplit("/", 1)[-1] for n in (path, str(node.name))}
    arrays, addresses = {}, {nexus.address(node)}
    for group in groups:
        named = [attribute(n, key) for n in (group.node, node) for key in ("mask", "pixel_mask")] if group is groups[0] else []
        for name in [*filter(None, named), *map(str, group.node)]:
            is_mask = name in named or _MASK.fullmatch(name) is not None or name in {f"{n}_mask" for n in own}
            array = nexus.dataset(tree, group, name) if is_mask or _OTHER.fullmatch(name) else None
            if array is None or entry_of(array, "").dtype.kind not in "biuf" or array.size < 2 or nexus.address(array) in addresses:
                continue
            addresses.add(nexus.address(array))
            arrays[name if name.startswith("/") else group / name] = is_mask, array
    return arrays


def _loaded(tree: Tree, path: str, array: Any, guesses: list[str]) -> np.ndarray:
    """True where bad, without axes of length 1."""
    mask = is_bad(without_nan(tree.load(array), path, guesses), path)
    return mask.reshape([n for n in mask.shape if n != 1] or [1]) if mask.ndim > 2 else mask


def _fits(shape: tuple[int, ...], values: tuple[int, ...]) -> bool:
    """One mask for all, or that of a frame."""
    mask, data = (tuple(n for n in s if n != 1) for s in (shape, values))
    return mask == data or (len(data) == 3 and mask == data[1:])


def _matters(tree: Tree, groups: tuple[Group, ...], path: str, array: Any) -> bool:
    """False for what the detector has applied already, a flat field of ones, and what untwin itself has stored and reads."""
    name = path.rsplit("/", 1)[-1].lower()
    if sum(n > 1 for n in array.shape) < 2 or (name in ("sensitivity", "dark") and any("pattern_1" in g.node for g in groups)):
        return False
    what = "countrate" if name.startswith("countrate") else "flatfield" if name.startswith(("flat", "white")) else ""
    applied = [_constant(tree, g, f"{what}{word}_applied") for g in groups for word in ("", "_correction") if what]
    if any(applied):
        return False
    return what != "flatfield" or not bool((tree.load(array) == 1).all())


def _limited(tree: Tree, groups: tuple[Group, ...], values: np.ndarray, bad: np.ndarray | None, guesses: list[str]) -> np.ndarray | None:
    """Where the detector cannot have counted right: at the top of its range, or below the least that it can say."""
    if values.dtype.kind not in "iuf":
        return None
    top = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else np.inf  # of the type: a gap, which the values say themselves
    usable = (values < top) if bad is None or bad.shape not in (values.shape, values.shape[1:]) else (values < top) & ~bad
    limited, brightest = np.zeros(values.shape, bool), float(values[usable].max(initial=0))
    for key in ("saturation_value", "countrate_correction_count_cutoff", "bit_depth_image", "bit_depth_readout", "underload_value"):
        path, limit = next(((g / key, v) for g in groups if (v := _constant(tree, g, key)) is not None), ("", None))
        if limit is None or (limit <= 0 and key != "underload_value"):
            continue
        if key.startswith("bit_depth"):
            limit = 2.0**limit - 1 if limit < 64 else np.inf
            beyond = usable & (values == limit) if brightest == limit else np.zeros(0, bool)
        else:
            with np.errstate(over="ignore"):  # a limit beyond the type of the values is infinite
                beyond = usable & (values < limit if key == "underload_value" else values >= limit)
        if not (n := int(beyond.sum())):
            continue
        if n > _MOST * values.size:
            guesses.append(f"{key} = {limit:g} ({path}) is not used: it would mask {100 * n / values.size:.0f} % of the pixels")
            continue
        limited |= beyond
        usable &= ~beyond
        how = "below" if key == "underload_value" else "at the top of" if key.startswith("bit_depth") else "at or above"
        guesses.append(f"{amount(n, 'pixel')} {'is' if n == 1 else 'are'} {how} {key} ({limit:g}, {path}): masked")
    _say_rate(tree, groups, brightest, guesses)
    return limited if limited.any() else None


def _say_rate(tree: Tree, groups: tuple[Group, ...], brightest: float, guesses: list[str]) -> None:
    """A sentence where a photon counter was too fast for itself, and the file says that nobody has corrected it."""
    seconds = next((v for g in groups if (v := _constant(tree, g, "count_time"))), None)
    applied = next((v for g in groups if (v := _constant(tree, g, "countrate_correction_applied")) is not None), None)
    if applied == 0 and seconds and seconds > 0 and brightest / seconds > _FAST:
        guesses.append(
            f"the brightest pixel counts {brightest / seconds:.2g} per second, and the count rate is not corrected "
            "(countrate_correction_applied = 0): it may have counted too few"
        )


def _constant(tree: Tree, group: Group, name: str) -> float | None:
    """As nexus.number; None for what varies from frame to frame."""
    try:
        return nexus.number(tree, group, name)
    except InputError:
        return None
