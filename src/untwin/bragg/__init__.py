"""Bragg coherent diffraction: where a scan was measured, what a beamline's files say, and from the phase to displacement and strain.

It knows nothing of how phases are found.
"""

from untwin.bragg.beamlines import TABLE, beamline
from untwin.bragg.diffractometer import Circle, Diffractometer
from untwin.bragg.facets import Facet, facets
from untwin.bragg.geometry_file import read_geometry
from untwin.bragg.instrument import Instrument
from untwin.bragg.maps import StrainMap
from untwin.bragg.prepare import prepare
from untwin.bragg.reading import read_scan
from untwin.bragg.scan import Frames, Scan
from untwin.bragg.stated import Stated
from untwin.bragg.strain import strain, strain_of

__all__ = [
    "TABLE",
    "Circle",
    "Diffractometer",
    "Facet",
    "Frames",
    "Instrument",
    "Scan",
    "Stated",
    "StrainMap",
    "beamline",
    "facets",
    "prepare",
    "read_geometry",
    "read_scan",
    "strain",
    "strain_of",
]
