"""The beamlines: one row each. A new one is a row here, and where its files are of a kind of their own a reader.

Where a row comes from: AdvancedPhotonSource/cohere_beamlines (2026), carnisj/bcdi (2024), clatlan/cdiutils (2026), public code that states
these facts. Copies disagree on the pixel directions of one and the same beamline, as arrays are flipped on loading: then the row says so,
and a measured peak decides (docs/bragg.md).
"""

from __future__ import annotations

import difflib

from untwin.bragg.diffractometer import Circle, Diffractometer
from untwin.errors import InputError

#: The beamlines that untwin knows, by name: their circles, detector and axes.
TABLE = {
    "34idc": Diffractometer(
        name="APS 34-ID-C",
        sample=(Circle("theta", "y+"), Circle("chi", "z-"), Circle("phi", "y+")),
        detector=(Circle("delta", "y+"), Circle("gamma", "x-")),
        slow="y-",
        fast="x+",
        source="cohere_beamlines and bcdi agree; facet rods of a measured gold crystal agree, up to an inversion",
    ),
    "id01": Diffractometer(
        name="ESRF ID01",
        sample=(Circle("mu", "y-"), Circle("eta", "x-"), Circle("phi", "y-")),
        detector=(Circle("nu", "y-"), Circle("delta", "x-")),
        slow="y-",
        fast="x+",
        source="circles: cohere_beamlines and bcdi; pixels: cdiutils",
        doubt="cohere_beamlines has columns that grow along x-, cdiutils along x+",
    ),
    "p10": Diffractometer(
        name="PETRA III P10",
        sample=(Circle("mu", "y+"), Circle("om", "x-"), Circle("chi", "z+"), Circle("phi", "y-")),
        detector=(Circle("gam", "y+"), Circle("del", "x-")),
        slow="y-",
        fast="x+",
        source="circles: cohere_beamlines and bcdi; pixels: cohere_beamlines (Eiger 4M)",
        doubt="cohere_beamlines has columns that grow along x+, cdiutils along x-",
    ),
    "nanomax": Diffractometer(
        name="MAX IV NanoMAX",
        sample=(Circle("gontheta", "x-"), Circle("gonphi", "y-")),
        detector=(Circle("gamma", "y-"), Circle("delta", "x-")),
        slow="y-",
        fast="x-",
        source="bcdi and cdiutils agree",
    ),
    "cristal": Diffractometer(
        name="SOLEIL CRISTAL",
        sample=(Circle("omega", "x-"), Circle("phi", "y+")),
        detector=(Circle("gamma", "y+"), Circle("delta", "x-")),
        slow="y-",
        fast="x+",
        source="bcdi and cdiutils agree",
    ),
    "sixs": Diffractometer(
        name="SOLEIL SIXS",
        sample=(Circle("beta", "x-"), Circle("mu", "y+")),
        detector=(Circle("beta", "x-"), Circle("gamma", "y+"), Circle("delta", "x-")),
        slow="y-",
        fast="x+",
        source="bcdi (2019); beta carries both the sample and the detector",
        doubt="hkl, the library of SOLEIL, has a third circle of the sample, omega about x-, within mu; bcdi has rows along y- and columns "
        "along x+ in 2019, rows along x- and columns along y- in 2022; cdiutils is not sure",
    ),
    "id27": Diffractometer(
        name="ESRF ID27",
        sample=(Circle("nath", "y+"),),
        detector=(),
        slow="y-",
        fast="x-",
        source="bcdi",
        doubt="bcdi has nath turn about y+, cdiutils about y-",
    ),
    "bm02": Diffractometer(
        name="ESRF BM02",
        sample=(Circle("mu", "y+"), Circle("eta", "x-"), Circle("chi", "z+"), Circle("phi", "x-")),
        detector=(Circle("nu", "y+"), Circle("tth", "x-")),
        slow="y-",
        fast="x+",
        source="circles: bcdi",
        doubt="no public source states how its pixels lie",
    ),
}


def beamline(name: str) -> Diffractometer:
    """The row of this name: 34idc, 34-ID-C, ID01 ... Raises InputError."""
    plain = "".join(c for c in name.lower() if c.isalnum())
    names = {"".join(c for c in row.name.lower() if c.isalnum()): key for key, row in TABLE.items()}
    key = plain if plain in TABLE else names.get(plain)
    if key is None:
        close = difflib.get_close_matches(plain, TABLE, 1)
        meant = f" Did you mean {close[0]}?" if close else ""
        known = ", ".join(TABLE)
        raise InputError(f"beamline {name!r} is not known; known are {known}; for others untwin geometry --new writes a file.{meant}")
    return TABLE[key]
