"""Where things lie in a NeXus file: the groups that belong to the data, by NX_class and by the links that lead to the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.data.hdf5 import Tree, attribute
from untwin.errors import InputError

if TYPE_CHECKING:
    import h5py

CXI_DETECTOR = "/entry_1/instrument_1/detector_1"
_CHILDREN = 300  # groups looked at in an entry
_CONSTANT, _NUMBERS = 1e-3, 100_000  # numbers that agree so well are one number; so many at most are looked at


@dataclass(frozen=True)
class Group:
    """path: in the file that is read; in another one that it links to, FILE::PATH."""

    path: str
    node: Any

    def __truediv__(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    @property
    def nx_class(self) -> str:
        return attribute(self.node, "NX_class")


def groups_of(tree: Tree, path: str, node: Any) -> tuple[Group, ...]:
    """What belongs to the data at `path`, nearest first: the group through which they were named, the one where they really lie (NXdata
    links to NXdetector), the detector of their entry, and its detectorSpecific (DECTRIS). node: a dataset, or the group of a series."""
    import h5py

    near = [group(tree, path if isinstance(node, h5py.Group) else _parent(path), tree.root)]
    if isinstance(node, h5py.Dataset):
        near.append(group(tree, _parent(str(node.name)), node.file))
        if target := attribute(node, "target"):
            near.append(group(tree, _parent(target), node.file))
    if not any(g is not None and g.nx_class == "NXdetector" for g in near):
        for entry in entries_of(tree, path, node):
            detectors = list(of_class(tree, entry, "NXdetector"))
            near += detectors if len(detectors) == 1 else []
            near.append(child(tree, entry, "instrument/detector"))  # DECTRIS gave it no class at first
    if path.startswith("/entry_1/"):
        near.append(group(tree, CXI_DETECTOR, tree.root))
    near += [child(tree, g, "detectorSpecific") for g in near if g is not None]
    unique = {address(g.node): g for g in reversed(near) if g is not None}
    return tuple(dict.fromkeys(unique[address(g.node)] for g in near if g is not None))


def entries_of(tree: Tree, path: str, node: Any) -> list[Group]:
    """The NXentry above the data, as they were named and where they really lie; or else the first group on the way."""
    entries = []
    for name, file in ((path, tree.root), (str(node.name), node.file)):
        parts = [p for p in name.split("/") if p]
        above = [group(tree, "/" + "/".join(parts[:n]), file) for n in range(1, len(parts))]
        named = [g for g in above if g is not None and g.nx_class in ("NXentry", "NXsubentry")] or [g for g in above if g is not None]
        entries += named[-1:] if named and named[-1].nx_class in ("NXentry", "NXsubentry") else named[:1]
    return list({address(g.node): g for g in entries}.values())


def of_class(tree: Tree, entry: Group, *classes: str) -> Iterator[Group]:
    """All groups of these classes in an entry, its instrument and its sample, nearest first."""
    waiting, looked_at = [(entry, 0)], 0
    while waiting and looked_at < _CHILDREN:
        parent, depth = waiting.pop(0)
        for g in children(tree, parent):
            looked_at += 1
            if g.nx_class in classes:
                yield g
            if depth < 2 and g.nx_class in ("NXinstrument", "NXsample", "NXcollection", "NXdetector_group", "NXdetector"):
                waiting.append((g, depth + 1))


def default_data(tree: Tree) -> h5py.Dataset | None:
    """The data of a NeXus file that names no default: the signal of its only NXdata that has one with two or three axes."""
    signals = {}
    root = Group("/", tree.root)
    for data in [d for e in children(tree, root) if e.nx_class == "NXentry" for d in children(tree, e) if d.nx_class == "NXdata"]:
        old = [n for n in list(map(str, data.node))[:_CHILDREN] if attribute(dataset(tree, data, n), "signal") == "1"]
        node = dataset(tree, data, attribute(data.node, "signal") or next(iter(old), ""))
        if node is not None and node.dtype.kind in "biuf" and sum(n > 1 for n in node.shape) in (2, 3):
            signals[address(node)] = node
    return next(iter(signals.values())) if len(signals) == 1 else None


def children(tree: Tree, parent: Group) -> Iterator[Group]:
    import h5py

    for name in list(map(str, parent.node))[:_CHILDREN]:
        link = parent.node.get(name, getlink=True)
        if isinstance(link, h5py.HardLink) and h5py.h5o.get_info(parent.node.id, name.encode()).type != h5py.h5o.TYPE_GROUP:  # pyright: ignore
            continue
        if (g := child(tree, parent, name)) is not None:
            yield g


def child(tree: Tree, parent: Group, name: str) -> Group | None:
    node = _find(tree, name, parent.node)
    return Group(parent / name, node) if _is_group(node) else None


def group(tree: Tree, path: str, file: Any) -> Group | None:
    node = _find(tree, path, file.file["/"])
    outside = "" if file.file.id == tree.root.file.id else f"{file.file.filename.rsplit('/', 1)[-1]}::"
    return Group(outside + path, node) if _is_group(node) else None


def dataset(tree: Tree, parent: Group, name: str) -> Any:
    """A dataset with a shape in a group, or None."""
    import h5py

    node = _find(tree, name, parent.node) if name else None
    return node if isinstance(node, h5py.Dataset) and node.shape is not None else None


def number(tree: Tree, parent: Group, name: str) -> float | None:
    """A finite number; of an array the one that all of it agrees on. None where there is none. Raises InputError where they differ."""
    node = dataset(tree, parent, name)
    if node is None or node.dtype.kind not in "biuf" or not 0 < node.size <= _NUMBERS:
        return None
    values = np.asarray(tree.load(node), dtype=np.float64).ravel()
    low, high = float(values.min()), float(values.max())
    if not np.isfinite((low, high)).all():
        return None
    if high - low > _CONSTANT * max(abs(low), abs(high)):
        raise InputError(f"{parent / name} varies from {low:g} to {high:g}")
    return float(values[0])


def units_of(tree: Tree, parent: Group, name: str) -> str:
    return attribute(dataset(tree, parent, name), "units")


def address(node: Any) -> tuple[int, int]:
    """What tells an object of an open file from all others."""
    import h5py

    info = h5py.h5o.get_info(node.id)  # pyright: ignore[reportAttributeAccessIssue]
    return info.fileno, info.addr


def _find(tree: Tree, path: str, start: Any) -> Any:
    """As tree.find, but what may not be followed, or is damaged, is not there: who names it hears the reason."""
    try:
        return tree.find(path, start)
    except (InputError, KeyError, OSError, RuntimeError, ValueError):
        return None


def _is_group(node: Any) -> bool:
    import h5py

    return isinstance(node, h5py.Group)


def _parent(path: str) -> str:
    return path.rsplit("/", 1)[0] or "/"
