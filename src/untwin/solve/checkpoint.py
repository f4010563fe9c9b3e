"""A state in a file, with all that moves, so that a run goes on from it bit for bit on the same machine."""

from __future__ import annotations

import io
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

from untwin.data.whole import write_bytes
from untwin.errors import InputError
from untwin.solve.state import State
from untwin.solve.stopping import Watch

_KNOWN = {cls.__name__: cls for cls in (State, Watch)}


def save_state(state: State, path: str | Path) -> Path:
    """Write a state that `iterate` has yielded: complete, or not at all."""
    import torch

    buffer = io.BytesIO()
    torch.save({"untwin": "state", "state": _told(state)}, buffer)
    write_bytes(Path(path), buffer.getvalue())
    return Path(path)


def load_state(path: str | Path, device: str = "cpu") -> State:
    """The state in a file, to hand to `iterate` with the same problem and recipe. Raises InputError where there is none."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files by others
            held = torch.load(Path(path), map_location=device, weights_only=True)
        if not isinstance(held, dict) or held.get("untwin") != "state":
            raise InputError(f"{path} holds no state; expected a file that save_state has written")
        state = _made(held["state"])
        grids = [state.x, state.image, state.support, state.bounds]
        if any(g.shape != state.x.shape for g in grids) or [type(seed) for seed in state.seeds] != [int] * len(state.x):
            raise ValueError("its parts do not fit")
        return state
    except FileNotFoundError:
        raise InputError(f"no file {path}; save_state writes one") from None
    except InputError:
        raise
    except Exception as error:  # whatever torch says of a file that is none of its own
        raise InputError(f"{path} holds no state ({type(error).__name__}); expected a file that save_state has written") from None


def _told(value: Any) -> Any:
    if type(value).__name__ in _KNOWN:
        return {"__class__": type(value).__name__, **{f.name: _told(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, dict):
        return {name: _told(v) for name, v in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map(_told, value))
    return value


def _made(value: Any) -> Any:
    if isinstance(value, dict) and "__class__" in value:
        return _KNOWN[value["__class__"]](**{name: _made(v) for name, v in value.items() if name != "__class__"})
    if isinstance(value, dict):
        return {name: _made(v) for name, v in value.items()}
    return tuple(map(_made, value)) if isinstance(value, tuple) else value
