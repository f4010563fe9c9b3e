"""Raw scans as beamlines write them: frames, log, dark and flat field -> Scan."""

from untwin.bragg.reading.files import is_log
from untwin.bragg.reading.read import read_scan

__all__ = ["is_log", "read_scan"]
