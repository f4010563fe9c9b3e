"""geometry.toml: a diffractometer that is in no table, and where its angles are, for everybody else.

It is data: names, axes and numbers. What it says twice has to agree.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from untwin.bragg.diffractometer import Circle, Diffractometer, direction, orientation
from untwin.bragg.stated import Motion, Stated
from untwin.data import units
from untwin.errors import InputError

LIMIT = 100_000  # bytes
TWO_THETA = 1.0  # degrees by which the angle of the file and that of the circles may differ: a peak off the direct beam's pixel
SIDES = {"downstream": "as seen from the sample", "upstream": "as seen from behind"}


class _Angle(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    start: float
    step: float


class _Circle(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(min_length=1)
    axis: str
    angle: float | _Angle | str | None = None

    def stated(self) -> Motion:
        if self.angle is None:
            return self.name  # the column of the log that has this name
        return (self.angle.start, self.angle.step) if isinstance(self.angle, _Angle) else self.angle


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = "geometry.toml"
    energy: str | float | None = None
    distance: str | float | None = None
    pixel_size: tuple[str | float, str | float] | None = None
    direct_beam: tuple[float, float] | None = None
    monitor: str | None = Field(default=None, min_length=1)
    rows: str
    columns: str
    picture: Literal["as seen from the sample", "as seen from behind"] | None = None
    two_theta: float | None = Field(default=None, gt=0, lt=180)
    sample: tuple[_Circle, ...] = Field(min_length=1)
    detector: tuple[_Circle, ...] = ()


def read_geometry(path: str | Path) -> Stated:
    """What a geometry.toml states. Raises InputError with every fault, and where it contradicts itself."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(LIMIT + 1)
        if len(text) > LIMIT:
            raise InputError(f"{path} has more than {LIMIT:,} bytes; expected one such as untwin geometry --new writes")
        content = _File(**tomllib.loads(text.decode("utf-8")))
    except InputError:
        raise
    except ValidationError as errors:
        raise InputError(f"{path}: " + "; ".join(_sentence(dict(e)) for e in errors.errors())) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; untwin geometry --new {path} writes one") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not TOML ({error}); untwin geometry --new writes one") from None
    try:
        row = Diffractometer(
            name=content.name,
            sample=tuple(Circle(c.name, c.axis) for c in content.sample),
            detector=tuple(Circle(c.name, c.axis) for c in content.detector),
            slow=content.rows,
            fast=content.columns,
            source=path.name,
        )
        _require_one_hand(content, row)
        return _stated(content, row)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _stated(content: _File, row: Diffractometer) -> Stated:
    size = content.pixel_size
    return Stated(
        diffractometer=row,
        angles={c.name: c.stated() for c in (*content.sample, *content.detector)},
        energy=None if content.energy is None else units.photon_energy(content.energy) / units.VOLT,
        distance=None if content.distance is None else units.detector_distance(content.distance),
        pixel_size=None if size is None else units.detector_pixel(size),
        direct_beam=content.direct_beam,
        monitor=content.monitor,
    )


def _require_one_hand(content: _File, row: Diffractometer) -> None:
    """What the file says twice: names, the side from which the picture is seen, the scattering angle. Raises InputError."""
    for circles in (row.sample, row.detector):  # one stage may carry both
        names = [c.name for c in circles]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise InputError(f"two circles are called {', '.join(twice)}; expected a name for each")
    normal = np.cross(direction(row.fast), direction(row.slow))
    if content.picture is not None:
        if abs(normal[2]) < 0.5:
            raise InputError(f"rows along {row.slow} and columns along {row.fast}: the detector does not face the beam, leave picture out")
        side = SIDES["downstream" if normal[2] > 0 else "upstream"]
        if side != content.picture:
            raise InputError(
                f"its handedness contradicts itself: with rows along {row.slow} and columns along {row.fast} the picture is {side} "
                f"(looking downstream, x points to the left). It says {content.picture!r}; turn one of the two around"
            )
    fixed = [c.angle for c in content.detector]
    if content.two_theta is not None and all(isinstance(a, int | float) for a in fixed):
        ray = orientation(row.detector, [float(a) for a in fixed if isinstance(a, int | float)])[:, 2]
        angle = float(np.degrees(np.arccos(np.clip(ray[2], -1, 1))))
        if abs(angle - content.two_theta) > TWO_THETA:
            raise InputError(
                f"it contradicts itself: its detector circles give a scattering angle of {angle:.2f} degrees, and two_theta is "
                f"{content.two_theta:g}. Check the axes and the order of the circles (the outermost first)"
            )


def geometry_text(row: Diffractometer, key: str) -> str:
    """A geometry.toml with comments, that of a beamline of the table to begin with."""
    lines = [
        "# Where the frames of a scan were taken. Frame: z downstream, y up, x = y × z (looking downstream, x points to the left).",
        f"# Begun with the row {key!r} of untwin's table ({row.name}). Change what differs; what the log says may be left out.",
        f'name = "{row.name}"',
        "",
        '# energy = "9 keV"            # of the photons, instead of what the log says',
        '# distance = "500 mm"         # from the sample to the detector',
        '# pixel_size = ["55 um", "55 um"]   # along a column (from row to row), along a row',
        "# direct_beam = [127.5, 127.5]  # row, column where the beam falls when all detector angles are 0;",
        "#                               leave it out where the detector's angles are those of the Bragg peak",
        '# monitor = "Monitor"          # the column of the log that has the intensity of the beam',
        "",
        "# Where row and column numbers grow when all detector angles are 0: x+, x-, y+, y-, z+ or z-",
        f'rows = "{row.slow}"',
        f'columns = "{row.fast}"',
        '# picture = "as seen from the sample"  # or "as seen from behind": checked against rows and columns',
        "# two_theta = 34.3             # degrees, of the detector: checked against its circles",
        "",
        "# Circles, the outermost (which carries the others) first. axis: y+ is a right-handed rotation about +y, at all outer circles 0.",
        "# angle, degrees: a number; { start = -0.28, step = 0.005 }; or the name of a column in the log (by default the circle's).",
    ]
    for table, circles in (("sample", row.sample), ("detector", row.detector)):
        for circle in circles:
            lines += ["", f"[[{table}]]", f'name = "{circle.name}"', f'axis = "{circle.axis}"', "# angle = 0.0"]
    return "\n".join(lines) + "\n"


def _sentence(error: dict[str, Any]) -> str:
    names = [str(part) for part in error["loc"] if part not in ("_Angle", "float", "str")]
    name = ".".join(names)
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "extra_forbidden":
        return f"{name} is not known; known are {', '.join(_File.model_fields)}"
    message = str(error["msg"])
    return f"{name} = {error['input']!r}: {message[0].lower()}{message[1:]}"
