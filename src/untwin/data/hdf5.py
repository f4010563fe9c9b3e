"""HDF5 and NeXus: a walk that never leaves the file's folder, and the dataset that the file itself calls its default.

h5py follows links by itself, anywhere on the disk. Here every component of every path is resolved by hand instead, and
external links, virtual datasets and external storage are allowed only to existing files inside the folder of the input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from untwin.data import matlab, probe
from untwin.data.atomic import atomic_write_bytes
from untwin.data.header import LARGE, Entry, affordable, unpacked
from untwin.errors import InputError, readable_errors
from untwin.processes import stoppable

if TYPE_CHECKING:
    import h5py

_DEEP = 32  # links or groups followed one after the other
_MANY = 5_000  # objects looked at in one file
_SOURCES, _NESTED = 5_000, 4  # of one virtual dataset; virtual datasets made of virtual datasets
_FILTERS = {
    32008: "bitshuffle",
    32004: "LZ4",
    32001: "Blosc",
    32026: "Blosc2",
    32015: "Zstandard",
    32013: "ZFP",
    307: "bzip2",
}


@contextmanager
def opened(path: Path) -> Iterator[Tree]:
    """The file, for reading; with all the files that it links to, closed at the end."""
    import h5py

    _require_survivable(path)
    with ExitStack() as stack:
        file = stack.enter_context(h5py.File(path, "r"))
        yield Tree(file, path.resolve().parent, stack, {path.resolve(): file})


def _require_survivable(path: Path) -> None:
    if not probe.survives(path):
        raise InputError(f"{path.name} is damaged in a way that stops the HDF5 library; copy or write it again")


@contextmanager
def atomic_file(target: Path, **options: Any) -> Iterator[h5py.File]:
    """A file to fill, which takes its place at the end of the block, complete or not at all. It is built in memory: where the disk is full,
    HDF5 itself leaves a file that it can neither finish nor close, and the process crashes at its end. Raises InputError where it cannot be
    written. Ctrl-C waits for the end of the block: an exception that a signal raises inside HDF5 is lost there."""
    import h5py

    with stoppable(), h5py.File(target.name, "w", driver="core", backing_store=False, **options) as file:
        yield file
        file.flush()
        content = file.id.get_file_image()
    atomic_write_bytes(target, content)


@dataclass
class Tree:
    """An open file, with the folder that nothing may leave. What grows is the list of further open files, and that of datasets that may be
    read (file and address -> bytes that they are stored in)."""

    root: h5py.File
    folder: Path
    stack: ExitStack
    files: dict[Path, Any] = field(default_factory=dict)
    checked: dict[tuple[int, int], int] = field(default_factory=dict)

    def find(self, name: str, start: Any = None, depth: int = 0) -> Any:
        """The group or dataset at `name` (from the root, or from a group), or None where there is none."""
        import h5py

        node = self.root if start is None else start
        if name.startswith("/"):
            node = node.file
        for part in [p for p in name.split("/") if p not in ("", ".")]:
            if not isinstance(node, h5py.Group):
                return None
            link = node.get(part, getlink=True)
            if link is None:
                return None
            if depth > _DEEP:
                raise InputError(f"{self._name}: the links at {name} go round in circles; write the file without them")
            if isinstance(link, h5py.SoftLink):
                node = self.find(link.path, node, depth + 1)
            elif isinstance(link, h5py.ExternalLink):
                linked_file = self._file(link.filename, f"the external link {node.name}/{part}", node.file)
                node = self.find("/" + link.path.lstrip("/"), linked_file, depth + 1)
            else:
                node = self._open(node, part)
            if node is None:
                return None
        return node

    def entries(self) -> list[Entry]:
        """All datasets of numbers that can be reached, each once."""
        import h5py

        datasets, addresses, visited = [], set(), 0
        waiting: list[tuple[str, h5py.Group, int]] = [("", self.root, 0)]
        while waiting:
            prefix, group, depth = waiting.pop(0)
            for part in map(str, group):
                if part in matlab.INTERNAL:
                    continue
                visited += 1
                if visited > _MANY:
                    raise InputError(f"{self._name} holds more than {_MANY} objects; name the dataset with data= (--data)")
                try:
                    node = self.find(part, group)
                except InputError:
                    continue  # a link that may not be followed is no candidate; naming it gives the reason
                if node is None or not isinstance(node, h5py.Group | h5py.Dataset):
                    continue
                info = h5py.h5o.get_info(node.id)  # pyright: ignore[reportAttributeAccessIssue]
                if (info.fileno, info.addr) in addresses:
                    continue
                addresses.add((info.fileno, info.addr))
                if isinstance(node, h5py.Dataset):
                    with suppress(TypeError):  # a type that NumPy does not have
                        entry = matlab.entry_of(node, f"{prefix}/{part}")
                        if node.shape is not None and entry.is_number and matlab.is_array(node):
                            datasets.append(entry)
                elif depth < _DEEP:
                    waiting.append((f"{prefix}/{part}", node, depth + 1))
        return datasets

    def load(self, dataset: h5py.Dataset) -> np.ndarray:
        """The values, after every check of what reading them would do."""
        self._readable(dataset, 0)
        return matlab.as_saved(dataset, dataset[()])

    def volume(self, dataset: h5py.Dataset, number: int) -> np.ndarray:
        """One of several along the first axis, after the same checks; the others are not read."""
        self._readable(dataset, 0)
        return matlab.as_saved(dataset, dataset[matlab.at_first(dataset, number)])

    def rows(self, name: str, rows: slice) -> np.ndarray:
        """Some rows of a dataset of numbers or strings, after every check of what reading them would do. Raises InputError where there is
        no such dataset."""
        import h5py

        dataset = self.find(name)
        if not isinstance(dataset, h5py.Dataset) or not dataset.shape:
            raise InputError(f"{self._name} has no dataset {name}; write it again")
        self._readable(dataset, 0, text=h5py.check_string_dtype(dataset.dtype) is not None)
        return dataset[rows]

    def number(self, name: str) -> float | None:
        """A single finite number, or None."""
        import h5py

        dataset = self.find(name)
        if not isinstance(dataset, h5py.Dataset) or dataset.size != 1 or dataset.dtype.kind not in "iuf":
            return None
        value = float(np.asarray(self.load(dataset)).ravel()[0])
        return value if np.isfinite(value) else None

    def text(self, name: str) -> str | None:
        """A single string, or None."""
        import h5py

        dataset = self.find(name)
        if not isinstance(dataset, h5py.Dataset) or dataset.size != 1 or h5py.check_string_dtype(dataset.dtype) is None:
            return None
        self._readable(dataset, 0, text=True)
        return _text(np.asarray(dataset[()]).ravel()[0])

    def default(self) -> h5py.Dataset | None:
        """The signal of the NeXus default plot: the attributes `default` from the root down to an NXdata, then
        `signal`."""
        import h5py

        node: Any = self.root
        for _ in range(_DEEP):
            name = attribute(node, "default")
            if not name:
                break
            node = self.find(name, node)
            if not isinstance(node, h5py.Group):
                return None
        signal = attribute(node, "signal")
        dataset = self.find(signal, node) if signal else None
        return dataset if isinstance(dataset, h5py.Dataset) else None

    @property
    def _name(self) -> str:
        return Path(self.root.filename).name

    def _open(self, group: Any, part: str) -> Any:
        import h5py

        node = group[part]
        if not isinstance(node, h5py.Dataset) or not node.external:
            return node
        del node  # it may be open once only, and HDF5 would look for its values in the working folder
        access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
        access.set_efile_prefix(str(Path(group.file.filename).resolve().parent).encode())
        return h5py.Dataset(h5py.h5d.open(group.id, part.encode(), access))

    def _file(self, filename: str, who: str, owner: Any) -> Any:
        import h5py

        target = self._inside(filename, who, owner)
        if target not in self.files:
            with readable_errors(target, "HDF5"):
                _require_survivable(target)
                self.files[target] = self.stack.enter_context(h5py.File(target, "r"))
        return self.files[target]

    def _inside(self, filename: str, who: str, owner: Any) -> Path:
        target = (Path(owner.filename).resolve().parent / filename).resolve()
        if not target.is_relative_to(self.folder):
            raise InputError(
                f"{self._name}: {who} points to {filename}, outside the folder of the file; only files beside it or "
                "below are "
                "read. Copy it there or read it directly"
            )
        if not target.is_file():
            raise InputError(f"{self._name}: {who} needs {filename}, which is not there; copy it next to the file")
        return target

    def _readable(self, dataset: h5py.Dataset, depth: int, text: bool = False) -> int:
        """The bytes that this dataset is stored in, after every check of what reading it would do."""
        import h5py

        info = h5py.h5o.get_info(dataset.id)  # pyright: ignore[reportAttributeAccessIssue]
        key = (info.fileno, info.addr)
        if key in self.checked:
            return self.checked[key]
        what = self._name
        entry = matlab.entry_of(dataset, dataset.name or "")
        if h5py.check_ref_dtype(dataset.dtype) is not None:
            raise InputError(f"{what}: {entry.name} holds references to other arrays (a cell of MATLAB?); save the array on its own")
        if text and entry.nbytes > LARGE:
            raise InputError(f"{what}: {entry} declares {entry.nbytes / 2**20:.0f} MB of text, {LARGE / 2**20:.0f} at most; write it again")
        if not text:
            affordable(entry, what)
        if dataset.chunks is not None:
            chunk = int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize
            packed = dataset.id.get_create_plist().get_nfilters() > 0  # only then does HDF5 take memory for a chunk that it cannot cache
            if packed and chunk > max(4 * entry.nbytes, LARGE):
                raise InputError(f"{what}: {entry} is stored in chunks of {chunk / 2**20:.0f} MB; rewrite it with smaller ones")
        self._filters(dataset)
        stored = self._local(dataset, depth)
        unpacked(entry, stored, what)
        self.checked[key] = stored
        return stored

    def _filters(self, dataset: h5py.Dataset) -> None:
        import h5py

        plist = dataset.id.get_create_plist()
        for i in range(plist.get_nfilters()):
            code = plist.get_filter(i)[0]
            if not h5py.h5z.filter_avail(code):
                with suppress(ImportError):
                    import hdf5plugin  # noqa: F401  registers the filters
            if not h5py.h5z.filter_avail(code):
                raise InputError(
                    f"{dataset.name} is compressed with {_FILTERS.get(code, 'a plugin')} (HDF5 filter {code}). "
                    'Install the reader: pip install "untwin[detector]"'
                )

    def _local(self, dataset: h5py.Dataset, depth: int) -> int:
        """The bytes that this dataset is stored in, after checking that everything that HDF5 would open by itself to read it is inside
        the folder, too."""
        import h5py

        if depth > _NESTED:
            raise InputError(f"{self._name}: the virtual dataset {dataset.name} refers to itself, or to too many others; write it again")
        if dataset.external:
            who = f"{dataset.name} keeps its values in another file and"
            return sum(self._inside(filename, who, dataset.file).stat().st_size for filename, _, _ in dataset.external)
        if not dataset.is_virtual:
            return dataset.id.get_storage_size()
        stored = 0
        count = dataset.id.get_create_plist().get_virtual_count()
        if count > _SOURCES:
            raise InputError(f"{self._name}: {dataset.name} has {count:,} sources, {_SOURCES:,} at most; write it as one array")
        for source in dataset.virtual_sources():
            who = f"the virtual dataset {dataset.name}"
            if "%" in source.file_name:
                raise InputError(f"{self._name}: {who} has a pattern of file names ({source.file_name}); name the file itself")
            source_file = dataset.file if source.file_name == "." else self._file(source.file_name, who, dataset.file)
            origin = self.find("/" + source.dset_name.lstrip("/"), source_file)
            if not isinstance(origin, h5py.Dataset):
                raise InputError(f"{self._name}: {who} needs {source.dset_name} in {source.file_name}, which is not there")
            if origin.external:  # HDF5 would look for its values in the working folder
                raise InputError(
                    f"{self._name}: {who} needs {source.dset_name}, which keeps its values in another file; read that directly"
                )
            if not _without_external_links(source_file, source.dset_name):
                raise InputError(f"{self._name}: {who} goes through links in {source.file_name}; read that file directly")
            stored += self._readable(origin, depth + 1)
        return stored


def axis_names(dataset: h5py.Dataset) -> tuple[str, ...]:
    """What the file calls the axes of a dataset: its dimension labels, or else `axes` of its group where its `signal` is this dataset (or
    of itself, in older files). Empty where it says nothing of an axis; none at all of any."""
    labels = [str(d.label) for d in dataset.dims]
    if any(labels):
        return tuple(labels)
    holder = dataset.parent.attrs
    signal = _text(holder.get("signal", ""))
    axes = holder.get("axes") if signal == (dataset.name or "").rsplit("/", 1)[-1] else dataset.attrs.get("axes")
    if axes is None:
        return ()
    names = re.split("[:,]", _text(axes)) if np.ndim(axes) == 0 else [_text(a) for a in np.ravel(axes)]
    names = ["" if name.strip() == "." else name.strip() for name in names]
    return tuple(names) if len(names) == len(dataset.shape or ()) else ()


def _without_external_links(file: Any, name: str, depth: int = 0) -> bool:
    """No component of the path, nor of the soft links on it, is a link to another file (HDF5 would follow it by itself)."""
    import h5py

    node: Any = file["/"]
    parts = [p for p in name.split("/") if p not in ("", ".")]
    for i, part in enumerate(parts):
        link: Any = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if isinstance(link, h5py.SoftLink):
            start = "" if link.path.startswith("/") else str(node.name)
            return depth < _DEEP and _without_external_links(file, "/".join([start, link.path, *parts[i + 1 :]]), depth + 1)
        if not isinstance(link, h5py.HardLink):
            return False
        node = node[part] if i < len(parts) - 1 else None
    return True


def attribute(node: Any, name: str) -> str:
    """A text or a number among the attributes of a group or dataset, as text; empty where there is none."""
    try:
        value = np.asarray("" if node is None else node.attrs.get(name, ""), dtype=object).ravel()
    except Exception:  # of a type that NumPy does not have
        return ""
    return _text(value[0]).strip() if value.size == 1 and isinstance(value[0], str | bytes | int | np.generic) else ""


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
