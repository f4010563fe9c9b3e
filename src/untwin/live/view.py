"""What there is to be looked at: small pictures and curves, as plain numbers."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from untwin.live.files import plain

SIDE = 256  # pixels of a picture along each axis, at most
POINTS = 200  # of a curve, at most
KINDS = ("magnitude", "phase", "picture", "signed")


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture. kind: magnitude (0 to 255), phase (1 to 255 for -pi to pi, 0 outside the object), picture (grey or red, green, blue, 0
    to 255) or signed (128 is zero). pixels: (height, width) or (height, width, 3) uint8."""

    title: str
    kind: str
    pixels: np.ndarray


@dataclass(frozen=True)
class Line:
    """A figure of merit against iterations. group: the family of the start. stage: of the plan."""

    label: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    group: int = 0
    stage: str = ""


@dataclass(frozen=True, eq=False)
class View:
    """What there is of a part of a run. value: the figure of merit by which the best of several is shown. steps: taken, over all starts of
    the part. part: its name. caption: what is shown, in words."""

    panels: tuple[Panel, ...] = ()
    lines: tuple[Line, ...] = ()
    caption: str = ""
    value: float | None = None
    steps: int = 0
    part: str = ""

    def named(self, part: str, stage: str) -> View:
        return replace(self, part=part, lines=tuple(replace(line, stage=stage) for line in self.lines))


def thinned(line: Line, points: int = POINTS) -> Line:
    """With so many points at most, and POINTS, the first and the last among them."""
    n, points = len(line.steps), min(points, POINTS)
    if n <= points:
        return line
    at = np.unique(np.linspace(0, n - 1, points).round().astype(int))
    return replace(line, steps=tuple(line.steps[i] for i in at), values=tuple(line.values[i] for i in at))


Plane = tuple[str, "np.ndarray", "np.ndarray | None"]  # a title; numbers, complex or real; bool, where a phase means something


def object_panels(planes: Sequence[Plane]) -> tuple[Panel, ...]:
    """Magnitude and phase of planes through an object, all of one scale. Of real numbers the magnitude alone."""
    small = [(title, _reduced(x), None if inside is None else _reduced(inside) > 0.5) for title, x, inside in planes]
    top = max((float(np.abs(x).max()) for _, x, _ in small), default=0.0)
    magnitudes = [Panel(f"magnitude{title}", "magnitude", _scaled(np.abs(x), 0.0, top)) for title, x, _ in small]
    phases = [Panel(f"phase{title}", "phase", _phase(x, inside, top)) for title, x, inside in small if np.iscomplexobj(x)]
    return (*magnitudes, *phases)


def picture_panel(title: str, values: np.ndarray, low: float | None = None, high: float | None = None) -> Panel:
    """values: (channels, height, width) real; three channels are red, green, blue, else the first is shown. Between low and high, by
    default the least and the greatest value."""
    planes = values[:3] if len(values) == 3 else values[:1]
    small = np.stack([_reduced(plane) for plane in planes], -1)
    low, high = (float(small.min()) if low is None else low), (float(small.max()) if high is None else high)
    pixels = _scaled(small, low, high)
    return Panel(title, "picture", pixels if pixels.shape[-1] == 3 else pixels[..., 0])


def signed_panel(title: str, values: np.ndarray) -> Panel:
    """values: (height, width) real; zero has one colour, and both signs one each."""
    small = _reduced(values)
    top = float(np.abs(small).max())
    return Panel(title, "signed", _scaled(small, -top, top))


def encoded(view: View, **about: Any) -> bytes:
    """The bytes of an .npz. about: further plain values."""
    record = {"caption": view.caption, "value": view.value, "steps": view.steps, "part": view.part, **about}
    record["lines"] = [asdict(thinned(line)) for line in view.lines]
    record["panels"] = [{"title": p.title, "kind": p.kind} for p in view.panels]
    buffer = io.BytesIO()
    text = json.dumps(plain(record), allow_nan=False).encode()
    arrays: dict[str, Any] = {f"panel{i}": p.pixels for i, p in enumerate(view.panels)}
    np.savez(buffer, about=np.frombuffer(text, np.uint8), **arrays)
    return buffer.getvalue()


def decoded(content: bytes) -> tuple[View, dict[str, Any]] | None:
    """The view in the bytes of an .npz, and all that is written beside it; None where it is none that untwin has written."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            record = json.loads(arrays["about"].tobytes())
            panels = tuple(_panel(p, arrays[f"panel{i}"]) for i, p in enumerate(record["panels"]))
        lines = tuple(Line(**line) for line in record["lines"])
        return View(panels, lines, str(record["caption"]), record["value"], int(record["steps"]), str(record["part"])), record
    except Exception:  # whatever numpy and zipfile say of a file that is none of ours
        return None


def _panel(p: dict[str, Any], pixels: np.ndarray) -> Panel:
    flat = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3 and p["kind"] == "picture")
    if p["kind"] not in KINDS or pixels.dtype != np.uint8 or not flat or not 0 < max(pixels.shape) <= SIDE or not pixels.size:
        raise ValueError("no picture of this package")
    return Panel(str(p["title"]), p["kind"], pixels)


def _reduced(a: np.ndarray) -> np.ndarray:
    """Means of squares of pixels, so that no side is above SIDE; finite."""
    a, k = np.nan_to_num(a), -(-max(a.shape) // SIDE)
    if k == 1:
        return a
    a = np.pad(a, [(0, -n % k) for n in a.shape], mode="edge")
    return a.reshape(a.shape[0] // k, k, a.shape[1] // k, k).mean((1, 3))


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    span = high - low
    return ((values - low).clip(0, span) * (255 / span if span > 0 else 0)).round().astype(np.uint8)


def _phase(plane: np.ndarray, mask: np.ndarray | None, top: float) -> np.ndarray:
    inside = (np.abs(plane) > 0.02 * top) if mask is None else mask
    levels = 1 + np.round((np.angle(plane) + np.pi) / (2 * np.pi) * 254)
    return np.where(inside, levels, 0).astype(np.uint8)
