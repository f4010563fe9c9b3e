"""Steps of a recipe: projections, supports, starts, gradients, fits of a prior, plug-and-play; and what joins them."""

from untwin.solve.admm import ADMM
from untwin.solve.begin import BoxSupport, FlatStart, FrameSupport, ObjectSupport, RandomStart, ResetSupport, TriangleSupport
from untwin.solve.calibrate import Calibrate
from untwin.solve.coarse import CoarseStart
from untwin.solve.descent import LBFGS, Adam
from untwin.solve.detwin import Detwin
from untwin.solve.fit import Fit
from untwin.solve.flows import AmplitudeFlow, ReweightedAmplitudeFlow, TruncatedAmplitudeFlow, WirtingerFlow
from untwin.solve.likelihood import MaximumLikelihood
from untwin.solve.penalized import Penalized
from untwin.solve.pnp import HQS, RED, GradientStep, PnP, PnPADMM, Smooth
from untwin.solve.predict import Guess, Predict
from untwin.solve.projections import DM, ER, HIO, HPR, RAAR, RRR, SF
from untwin.solve.recipe import Algorithm, Deal, Draw, Ramp, Recipe, Repeat, Then, Until
from untwin.solve.shifts import Shifts
from untwin.solve.shrinkwrap import AreaWrap, ShrinkWrap
from untwin.solve.spectral import Spectral
from untwin.solve.variation import PrimalDual
from untwin.solve.wrap import Capped, Damped, Mean, Proximal, Rescale

__all__ = [
    "Algorithm",
    "Recipe",
    "Then",
    "Repeat",
    "Until",
    "Draw",
    "Ramp",
    "Deal",
    "ER",
    "HIO",
    "RAAR",
    "DM",
    "SF",
    "HPR",
    "RRR",
    "ADMM",
    "Capped",
    "Proximal",
    "Damped",
    "Mean",
    "Rescale",
    "ShrinkWrap",
    "AreaWrap",
    "BoxSupport",
    "FrameSupport",
    "TriangleSupport",
    "ResetSupport",
    "ObjectSupport",
    "RandomStart",
    "FlatStart",
    "CoarseStart",
    "Spectral",
    "Shifts",
    "Guess",
    "Predict",
    "Detwin",
    "Calibrate",
    "MaximumLikelihood",
    "Penalized",
    "AmplitudeFlow",
    "TruncatedAmplitudeFlow",
    "ReweightedAmplitudeFlow",
    "WirtingerFlow",
    "Fit",
    "Adam",
    "LBFGS",
    "Smooth",
    "PnP",
    "HQS",
    "PnPADMM",
    "RED",
    "GradientStep",
    "PrimalDual",
]
