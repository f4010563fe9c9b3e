"""The members of a family of steps, for laws that all of them keep."""

from __future__ import annotations

from untwin.runs.names import NAMES
from untwin.solve.admm import ADMM
from untwin.solve.fit import Fit
from untwin.solve.pnp import HQS, RED, GradientStep, PnP, PnPADMM, Smooth
from untwin.solve.projections import Projection
from untwin.solve.recipe import Algorithm
from untwin.solve.variation import PrimalDual

PROJECTIONS = (*(c for c in NAMES.values() if issubclass(c, Projection)), ADMM)
_FITTED = (Fit, Smooth, PnP, HQS, PnPADMM, RED, GradientStep, PrimalDual)  # of a prior, and of pictures
OTHERS = tuple(c for c in NAMES.values() if issubclass(c, Algorithm) and c not in (*PROJECTIONS, *_FITTED))
