"""The experiment as a CXI or NeXus file describes it: wavelength, distance, pixel size, each in the units that it says."""

from __future__ import annotations

from typing import Any

from untwin.data import nexus, units
from untwin.data.hdf5 import Tree
from untwin.data.measurement import Geometry
from untwin.data.nexus import Group
from untwin.errors import InputError

_CXI_SOURCE = "/entry_1/instrument_1/source_1"


def geometry(tree: Tree, path: str, node: Any, guesses: list[str]) -> Geometry:
    """Wavelength, distance and pixel size (slowest axis first) that belong to the data at `path`, as far as the file gives them. node: a
    dataset, or the group of a series."""
    groups = list(nexus.groups_of(tree, path, node))
    groups += [g for g in (nexus.group(tree, nexus.CXI_DETECTOR, tree.root),) if g is not None]
    distance = _first(tree, [(g, key) for g in groups for key in ("distance", "detector_distance")], "length", guesses)
    y, x = (_first(tree, [(g, f"{axis}_pixel_size") for g in groups], "length", guesses) for axis in "yx")
    return Geometry(
        wavelength=_wavelength(tree, nexus.entries_of(tree, path, node), groups, guesses),
        distance=distance,
        pixel_size=(y, x) if y and x else None,
    )


def _wavelength(tree: Tree, entries: list[Group], groups: list[Group], guesses: list[str]) -> float | None:
    """m, of the beam where it meets the sample, else behind the monochromator, else of a source of photons."""
    beams: list[tuple[Group, str]] = []
    for nx_class, prefix in (("NXbeam", "incident_"), ("NXmonochromator", "")):
        for g in [b for entry in entries for b in nexus.of_class(tree, entry, nx_class)]:
            beams += [(g, f"{prefix}wavelength"), (g, f"{prefix}energy")]
    cxi = nexus.group(tree, _CXI_SOURCE, tree.root)
    beams += [(cxi, "energy")] if cxi is not None else []
    beams += [(g, name) for g in groups if g.path.endswith("/detectorSpecific") for name in ("wavelength", "photon_energy")]
    sources = [s for entry in entries for s in nexus.of_class(tree, entry, "NXsource")]
    if any((tree.text(s / "probe") or "").strip() in ("electron", "neutron", "muon", "ion") for s in sources if "::" not in s.path):
        guesses.append("the beam is not of photons, so that its energy gives no wavelength here; wavelength= (--wavelength) gives it")
        beams, sources = [(g, name) for g, name in beams if "wavelength" in name], []
    for g, name in beams:
        if name.endswith("wavelength"):
            if (value := _first(tree, [(g, name)], "length", guesses)) is not None:
                return value
        elif (value := _first(tree, [(g, name)], "energy", guesses)) is not None:
            return units.PLANCK_LIGHT / value
    for g in sources:  # of a storage ring it is that of the electrons
        unit = nexus.units_of(tree, g, "energy")
        if (unit or nexus.dataset(tree, g, "energy") is None) and unit.lower() not in ("gev", "mev"):
            value = _first(tree, [(g, "energy")], "energy", guesses)
            if value is not None and units.LIGHT[0] <= value <= units.LIGHT[1]:
                return units.PLANCK_LIGHT / value
    return None


def _first(tree: Tree, candidates: list[tuple[Group, str]], kind: str, guesses: list[str]) -> float | None:
    """In SI, the first of these that is there and above 0."""
    for group, name in candidates:
        try:
            value = nexus.number(tree, group, name)
        except InputError as error:
            guesses.append(f"{error}: not used; it can be given as an option")
            continue
        if value is not None and value > 0:
            return units.in_si(value, nexus.units_of(tree, group, name) or None, kind, name, guesses)
    return None
