"""The waves of simulated scans against an independent library: finufft's nonuniform transform of the same crystal, at the same pixels.

In an environment of its own, which needs no torch; finufft was 2.5.1 when this was last run:

    python -m venv /tmp/oracle && /tmp/oracle/bin/pip install finufft lazy_loader numpy pydantic scipy
    PYTHONPATH=src /tmp/oracle/bin/python benchmarks/ewald.py

Prints for every beamline, at a tenth of the pixels: the largest difference of the amplitudes, relative to the peak's; that of the
intensities, summed, relative to their sum; and the seconds that either takes.
"""

from __future__ import annotations

import time

import numpy as np

from untwin.simulate import ewald
from untwin.simulate.facets import corners
from untwin.simulate.scan import FINE, RockingScan, each_q, intensity
from untwin.simulate.stations import STATIONS


def compare(key: str, dislocation: bool) -> str:
    import finufft

    scan = RockingScan(key, dislocation=dislocation)
    crystal, i = scan.crystal(), scan.instrument()
    begin = time.perf_counter()
    own = np.sqrt(intensity(crystal, i, scan.peak, scan.shape))[::10]
    middle = time.perf_counter()
    grid = ewald.cells(corners(crystal.facets), i.sampling(*scan.peak), FINE, 5 * crystal.roughness)
    points = grid.points.reshape(-1, 3)
    image = crystal.image(points) * grid.volume
    q = np.array(list(each_q(i, scan.peak[0], scan.shape)))[::10].reshape(-1, 3) - crystal.q
    far = finufft.nufft3d3(*points.T.copy(), image, *q.T.copy(), eps=1e-12, isign=-1)
    other = np.abs(far).reshape(own.shape)
    end = time.perf_counter()
    apart = np.abs(own - other).max() / other.max()
    flux = np.abs(own**2 - other**2).sum() / (other**2).sum()
    return f"{key:8} {'screw' if dislocation else 'smooth':7} {apart:8.1e} {flux:8.1e}   {middle - begin:5.1f} s  {end - middle:5.1f} s"


if __name__ == "__main__":
    for name in STATIONS:
        for screw in (False, True):
            print(compare(name, screw), flush=True)
