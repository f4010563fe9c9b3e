"""Weights of trained networks: safetensors with a model card in its header. Nothing in such a file is ever run."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.data.atomic import atomic_write_bytes
from untwin.data.formats import existing
from untwin.errors import InputError
from untwin.model.networks.architecture import Architecture, architecture

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from torch.nn import Module

SHIPPED = Path(__file__).with_name("shipped")
ENDING = ".safetensors"
FORMAT = "untwin weights 1"
HEADER, TENSORS = 2**20, 10_000  # bytes of a header, and tensors in a file, at most


@dataclass(frozen=True)
class Trained:
    """A network with its weights. name: of the shipped model, or the file. card: how it was trained and what it reaches, plain values."""

    name: str
    architecture: Architecture
    net: Module
    card: dict[str, Any]


def shipped() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(p.stem for p in SHIPPED.glob(f"*{ENDING}"))


def save(path: Path, net: Module, of: Architecture, card: dict[str, Any], half: bool = False) -> None:
    """Write the weights (half: as float16) and the card, as a file that is complete or not there."""
    import torch

    kind = torch.float16 if half else torch.float32
    write(path, {name: v.detach().cpu().to(kind) for name, v in net.state_dict().items()}, {**card, "architecture": repr(of)})


def load(model: str | Path) -> Trained:
    """A shipped model by its name, or a file of weights. Raises InputError where the file is not what it should be: of another format, cut
    short, of another architecture than its card names, or with values that are not finite."""
    path = path_of(model)
    tensors, card = read(path)
    of = architecture(str(card.get("architecture", "")))
    net = of.build()
    _fill(net, tensors, path, of)
    return Trained(str(model), of, net.eval(), card)


def path_of(model: str | Path) -> Path:
    """The file of a shipped model, or of weights, which is there. Raises InputError."""
    if str(model) in shipped():
        return SHIPPED / f"{model}{ENDING}"
    path = Path(model)
    if path.suffix != ENDING and not path.exists():
        near = difflib.get_close_matches(str(model), shipped(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"shipped are {', '.join(shipped()) or 'none'}, or give a file ending in {ENDING}"
        raise InputError(f"no model {str(model)!r}; {hint}")
    return existing(path)


def write(path: Path, tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
    """Tensors, and plain values beside them, in one file, with the SHA-256 of both."""
    from safetensors.torch import save

    text, arrays = json.dumps(card), {k: v.contiguous() for k, v in tensors.items()}
    seal = _digest({k: v.numpy() for k, v in arrays.items()}, text)
    atomic_write_bytes(path, save(arrays, {"format": FORMAT, "card": text, "sha256": seal}))


def _digest(arrays: dict[str, np.ndarray], text: str) -> str:
    sha256 = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        sha256.update(f"\n{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        sha256.update(arrays[name].tobytes())
    return sha256.hexdigest()


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write` has written. Raises InputError."""
    import torch

    arrays, card = opened(path)
    return {name: torch.from_numpy(v) for name, v in arrays.items()}, card


def _header(path: Path) -> None:
    """Raise InputError where the header is larger than untwin writes it, before the library reads it."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        content = json.loads(file.read(size)) if size <= HEADER else None
    if content is None or not isinstance(content, dict) or len(content) > TENSORS:
        raise InputError(f"{path} cannot be read as weights (a header of {size:,} bytes); at most {HEADER:,} bytes and {TENSORS:,} tensors")


def opened(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The same as arrays, without torch. Raises InputError."""
    from safetensors import SafetensorError, safe_open

    wanted = f"expected a {ENDING} file that untwin train has written"
    try:
        _header(path)
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise InputError(f"{path} holds tensors and no card of format {FORMAT!r}; {wanted}")
            card = json.loads(metadata["card"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file is no dict)
            if metadata.get("sha256", seal := _digest(arrays, metadata["card"])) != seal:  # files of version 0.1.0 have none
                raise InputError(f"{path} is damaged: its SHA-256 does not fit; copy or train it again")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OSError, RuntimeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as weights ({str(error)[:120]}); {wanted}, complete") from None
    if not isinstance(card, dict):
        raise InputError(f"{path}: its card is a {type(card).__name__}; {wanted}")
    return arrays, card


def check(model: str | Path) -> Architecture:
    """What the model is; without torch. Raises InputError as `load` does, except for what only the network itself can tell."""
    return architecture(str(opened(path_of(model))[1].get("architecture", "")))


def _fill(net: Module, tensors: dict[str, Tensor], path: Path, of: Architecture) -> None:
    import torch

    own = net.state_dict()
    for name in (*own, *tensors):
        own_shape, shape = (tuple(t[name].shape) if name in t else None for t in (own, tensors))
        if shape != own_shape:
            raise InputError(
                f"{path}: {name} is {shape or 'missing'}, {of!r} has {own_shape or 'none'}; these are weights of another network"
            )
    for name, v in tensors.items():
        if not v.is_floating_point() or not bool(torch.isfinite(v).all()):
            raise InputError(f"{path}: {name} holds values that are not finite numbers; train or copy it again")
    net.load_state_dict({name: v.to(own[name].dtype) for name, v in tensors.items()})
