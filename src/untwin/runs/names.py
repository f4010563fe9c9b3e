"""The names that a recipe may use: one line per algorithm, wrapper, setting, rule and stage."""

from __future__ import annotations

from typing import Any, TypeVar

import untwin
from untwin import expression
from untwin.errors import InputError
from untwin.model.constraints import Both, Constraint, MagnitudeCap, Nonnegative, PhaseOnly, RealValued, Sparse, Support
from untwin.model.counts import Modulus
from untwin.model.denoiser import Denoiser
from untwin.model.detection import Background, Coherent, CoherentFactor, Ideal, Sensitivity, Series
from untwin.model.losses import SSIM, Absolute, Amplitude, Gamma, Huber, Intensity, Poisson, Squared
from untwin.model.measures import Magnitude, Total, Volume
from untwin.model.networks.decoder import ConvDecoder, DeepDecoder
from untwin.model.networks.siren import Siren
from untwin.model.networks.skip import Skip
from untwin.model.physics import Physics
from untwin.model.priors.combine import Cartesian, DoubleDIP, Polar
from untwin.model.priors.field import RandomField
from untwin.model.priors.generator import Generator
from untwin.model.priors.grid import Grid, Uniform
from untwin.model.priors.kernel import Perceptron, Softmax
from untwin.model.priors.projector import Projector
from untwin.model.priors.untrained import Implicit, Untrained
from untwin.model.priors.zernike import Zernike
from untwin.model.regularizers import L1, TV, GradientRatio, IsotropicTV
from untwin.model.unknown import Unknown
from untwin.model.waves.base import Waves
from untwin.model.waves.farfield import FarField
from untwin.model.waves.fresnel import Fresnel
from untwin.model.waves.linear import Gaussian
from untwin.model.waves.masked import Masked
from untwin.runs.stages.average import Average
from untwin.runs.stages.coherence import Coherence
from untwin.runs.stages.contain import Contain
from untwin.runs.stages.count_values import CountValues
from untwin.runs.stages.finish import Finish
from untwin.runs.stages.guide import Guide
from untwin.runs.stages.inspect import Inspect, Release
from untwin.runs.stages.plan import Plan
from untwin.runs.stages.refine import Refine
from untwin.runs.stages.reserve import Reserve
from untwin.runs.stages.search import Search
from untwin.runs.stages.strays import Strays
from untwin.solve.admm import ADMM
from untwin.solve.begin import BoxSupport, FlatStart, FrameSupport, ObjectSupport, RandomStart, ResetSupport, TriangleSupport
from untwin.solve.calibrate import Calibrate
from untwin.solve.coarse import CoarseStart
from untwin.solve.constrained import AtLeast, AtMost, Equal
from untwin.solve.descent import LBFGS, Adam
from untwin.solve.detwin import Detwin
from untwin.solve.discrepancy import Discrepancy
from untwin.solve.fit import Fit
from untwin.solve.flows import AmplitudeFlow, ReweightedAmplitudeFlow, TruncatedAmplitudeFlow, WirtingerFlow
from untwin.solve.heldout import HeldOut, Thinned
from untwin.solve.likelihood import MaximumLikelihood
from untwin.solve.penalized import Penalized
from untwin.solve.pnp import HQS, RED, GradientStep, PnP, PnPADMM, Smooth
from untwin.solve.predict import Guess, Predict
from untwin.solve.projections import DM, ER, HIO, HPR, RAAR, RRR, SF
from untwin.solve.recipe import Deal, Draw, Ramp, Recipe, Rule, Until
from untwin.solve.selfvalidation import SelfValidation
from untwin.solve.shifts import Shifts
from untwin.solve.shrinkwrap import AreaWrap, ShrinkWrap
from untwin.solve.solved import Solved
from untwin.solve.spectral import Spectral
from untwin.solve.stopping import Plateau
from untwin.solve.variance import EMV, WMV
from untwin.solve.variation import PrimalDual
from untwin.solve.wrap import Capped, Damped, Mean, Proximal, Rescale

PROJECTIONS: tuple[type, ...] = (ER, HIO, RAAR, DM, SF, HPR, RRR, ADMM)
OTHERS: tuple[type, ...] = (
    ShrinkWrap,
    AreaWrap,
    Detwin,
    Calibrate,
    MaximumLikelihood,
    Penalized,
    Shifts,
    BoxSupport,
    FrameSupport,
    TriangleSupport,
    ResetSupport,
    ObjectSupport,
    RandomStart,
    FlatStart,
    CoarseStart,
    Spectral,
    AmplitudeFlow,
    TruncatedAmplitudeFlow,
    ReweightedAmplitudeFlow,
    WirtingerFlow,
    Predict,
    Guess,
    Rescale,
    Capped,
    Proximal,
    Damped,
    Mean,
)
NETWORKS: tuple[type, ...] = (Skip, DeepDecoder, ConvDecoder, Siren)
PRIORS: tuple[type, ...] = (
    *(Grid, Uniform, RandomField, Zernike, Untrained, Projector, Implicit, Generator),
    *(Polar, Cartesian, DoubleDIP, Softmax, Perceptron),
)
LOSSES: tuple[type, ...] = (Amplitude, Intensity, Poisson, Squared, Absolute, Huber, Gamma, SSIM)
FITS: tuple[type, ...] = (Fit, Adam, LBFGS, TV, IsotropicTV, L1, GradientRatio, AtMost, AtLeast, Equal, Total, Magnitude, Volume)
PLUGGED: tuple[type, ...] = (Denoiser, Smooth, PnP, HQS, PnPADMM, RED, GradientStep, PrimalDual)
RULES: tuple[type, ...] = (Plateau, WMV, EMV, HeldOut, Thinned, SelfValidation, Discrepancy, Solved)
STAGES: tuple[type, ...] = (
    Plan,
    Inspect,
    CountValues,
    Search,
    Guide,
    Reserve,
    Release,
    Finish,
    Contain,
    Average,
    Coherence,
    Strays,
    Refine,
)
NAMES: dict[str, type] = {
    c.__name__: c for c in (*PROJECTIONS, *OTHERS, *FITS, *PLUGGED, *NETWORKS, *PRIORS, *LOSSES, *RULES, Deal, Draw, Ramp, Until, *STAGES)
}

CONSTRAINTS: tuple[type, ...] = (Support, Nonnegative, RealValued, MagnitudeCap, PhaseOnly, Sparse)
WAVES: tuple[type, ...] = (FarField, Masked, Fresnel, Gaussian)
PHYSICS: tuple[type, ...] = (Physics, *WAVES, Ideal, Coherent, CoherentFactor, Background, Sensitivity, Series, Unknown)
MODEL: dict[str, type] = {c.__name__: c for c in (*CONSTRAINTS, *LOSSES, Modulus, *PHYSICS)}
Kind = TypeVar("Kind")
# former name -> present one, of classes and of settings, for one release
FORMER = {
    **untwin.FORMER,
    "Refine.apart": "min_disagreement",
    "Refine.explained": "max_deviance_ratio",
    "Reserve.near": "max_disagreement",
    "Modulus.hole": "damping",
}


def parse(text: str) -> Any:
    """The recipe or plan that a text describes. cohere's strings are read unchanged: "3*(20*ER+180*HIO)+20*ER"."""
    recipe = expression.read(text, NAMES, FORMER)
    if not isinstance(recipe, Recipe | Plan):
        raise InputError(f"{text!r} is not a recipe; expected steps such as 20*ER + 180*HIO(beta=0.9)")
    return recipe


def parse_rule(text: str) -> Rule:
    """The rule that a text describes, such as "EMV(patience=300)"."""
    rule = expression.read(text, NAMES, FORMER)
    if not isinstance(rule, Rule):
        raise InputError(f"{text!r} is not a rule; expected such as EMV(patience=300), WMV or HeldOut")
    return rule


def parse_model(text: str, kind: type[Kind]) -> Kind:
    """The constraint, loss, modulus or physics that a text describes, such as "Support() & RealValued()". Waves alone are a physics."""
    value = expression.read(text, MODEL, FORMER)
    part: Any = Physics.of(value) if kind is Physics and isinstance(value, Waves) else value
    if not isinstance(part, kind) or (isinstance(part, Both) and not _sound(part)):
        names = ", ".join(name for name, c in MODEL.items() if issubclass(c, kind))
        raise InputError(f"{text!r} is no {kind.__name__.lower()}; known: {names}")
    return part


def _sound(part: object) -> bool:
    """Constraints through and through."""
    return _sound(part.first) and _sound(part.second) if isinstance(part, Both) else isinstance(part, Constraint)
