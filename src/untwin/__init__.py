"""untwin: phase retrieval for coherent diffraction. `read` a pattern, `reconstruct` the object, believe the verdict or not."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

__version__ = "0.2.0.dev0"

_HOME = {
    "data.read": ("read", "read_object", "read_support"),
    "data.measurement": ("Pattern", "Geometry", "Source"),
    "data.optics": ("Optics",),
    "errors": ("InputError", "GuessWarning"),
    "model.waves.base": ("Waves",),
    "model.waves.farfield": ("FarField",),
    "model.waves.linear": ("Linear", "Gaussian"),
    "model.waves.masked": ("Masked",),
    "model.waves.fresnel": ("Fresnel",),
    "model.detection": ("Detection", "Ideal", "Coherent", "CoherentFactor", "Background", "Sensitivity", "Series"),
    "model.physics": ("Physics",),
    "model.unknown": ("Unknown",),
    "model.symmetry": ("Symmetry", "FarFieldSymmetry", "GlobalPhase", "NoSymmetry", "ShiftAndScale"),
    "model.inverse": ("InverseProblem",),
    "model.constraints": ("Support", "Nonnegative", "RealValued", "MagnitudeCap", "PhaseOnly", "Sparse"),
    "model.image.base": ("Identity", "Forward"),
    "model.image.mask": ("Mask",),
    "model.image.blur": ("Blur",),
    "model.image.downsample": ("Downsample",),
    "model.image.mri": ("MRI",),
    "model.losses": ("Loss", "Amplitude", "Intensity", "Poisson", "Squared", "Absolute", "Huber", "Gamma", "SSIM"),
    "model.picture": ("Picture",),
    "model.denoiser": ("Denoiser",),
    "model.deepinv": ("from_deepinv",),
    "model.networks.skip": ("Skip",),
    "model.networks.decoder": ("DeepDecoder", "ConvDecoder"),
    "model.networks.siren": ("Siren",),
    "model.priors.grid": ("Grid", "Uniform"),
    "model.priors.field": ("RandomField",),
    "model.priors.zernike": ("Zernike",),
    "model.priors.untrained": ("Untrained", "Implicit"),
    "model.priors.kernel": ("Softmax", "Perceptron"),
    "model.priors.projector": ("Projector",),
    "model.priors.generator": ("Generator",),
    "model.priors.combine": ("Polar", "Cartesian", "DoubleDIP"),
    "model.regularizers": ("TV", "IsotropicTV", "L1", "GradientRatio"),
    "model.problem": ("Problem",),
    "model.counts": ("Modulus",),
    "model.alignment": ("align", "twin"),
    "judge.compare": ("compare", "Comparison"),
    "judge.resolution": ("Curve", "prtf", "fsc"),
    "judge.trust": ("Verdict",),
    "solve.state": ("State",),
    "runs.solution": ("Solution", "Reconstruction", "Start", "History", "Restored"),
    "solve.recipe": ("Algorithm", "Recipe", "Rule", "Then", "Repeat", "Until", "Draw", "Ramp", "Deal"),
    "solve.projections": ("ER", "HIO", "RAAR", "DM", "SF", "HPR", "RRR"),
    "solve.admm": ("ADMM",),
    "solve.wrap": ("Capped", "Proximal", "Damped", "Mean", "Rescale"),
    "solve.shrinkwrap": ("ShrinkWrap", "AreaWrap"),
    "solve.begin": (
        *("BoxSupport", "FrameSupport", "TriangleSupport", "ResetSupport", "ObjectSupport"),
        *("RandomStart", "FlatStart", "begin"),
    ),
    "solve.detwin": ("Detwin",),
    "solve.calibrate": ("Calibrate",),
    "solve.likelihood": ("MaximumLikelihood",),
    "solve.penalized": ("Penalized",),
    "solve.spectral": ("Spectral",),
    "solve.coarse": ("CoarseStart",),
    "solve.shifts": ("Shifts",),
    "solve.predict": ("Guess", "Predict"),
    "solve.flows": ("AmplitudeFlow", "TruncatedAmplitudeFlow", "ReweightedAmplitudeFlow", "WirtingerFlow"),
    "model.inference": ("predict",),
    "solve.descent": ("Adam", "LBFGS"),
    "solve.fit": ("Fit",),
    "solve.pnp": ("Smooth", "PnP", "HQS", "PnPADMM", "RED", "GradientStep"),
    "solve.variation": ("PrimalDual",),
    "solve.constrained": ("AtMost", "AtLeast", "Equal"),
    "model.measures": ("Total", "Magnitude", "Volume"),
    "solve.stopping": ("Plateau",),
    "solve.solved": ("Solved",),
    "solve.variance": ("WMV", "EMV"),
    "solve.discrepancy": ("Discrepancy",),
    "model.noise_level": ("estimate_sigma",),
    "solve.heldout": ("HeldOut", "Thinned"),
    "solve.selfvalidation": ("SelfValidation",),
    "solve.run": ("iterate",),
    "runs.names": ("parse",),
    "runs.stages.plan": ("Plan",),
    "runs.stages.search": ("Search",),
    "runs.stages.guide": ("Guide",),
    "runs.stages.reserve": ("Reserve",),
    "runs.stages.finish": ("Finish",),
    "runs.stages.coherence": ("Coherence",),
    "runs.stages.inspect": ("Inspect", "Release"),
    "runs.stages.count_values": ("CountValues",),
    "runs.stages.strays": ("Strays",),
    "runs.stages.contain": ("Contain",),
    "runs.stages.average": ("Average",),
    "runs.stages.refine": ("Refine",),
    "runs.reconstruct": ("reconstruct",),
    "many": ("reconstruct_many", "BatchResult"),
    "runs.replicate": ("replicate",),
    "runs.checkpoint": ("save_state", "load_state"),
    "runs.restore": ("restore",),
    "runs.blind": ("Blind",),
    "judge.blur": ("kernel_similarity",),
    "runs.deconvolve": ("deconvolve_sparse", "Deconvolved"),
    "runs.archive": ("load",),
    "simulate.dataset": ("Crystals",),
    "show.report": ("report",),
    "show.export": ("export",),
}
# former name -> present one, for one release; recipes and run.toml know them, too (runs.names.FORMER)
FORMER = {
    "Ceiling": "MagnitudeCap",
    "Whole": "ResetSupport",
    "Box": "BoxSupport",
    "Triangle": "TriangleSupport",
    "Random": "RandomStart",
    "Settle": "Rescale",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["__version__", "bragg", *sorted(_MODULE)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _MODULE:
        return getattr(importlib.import_module(f"untwin.{_MODULE[name]}"), name)
    if name in ("simulate", "bragg"):
        return importlib.import_module(f"untwin.{name}")
    if name in FORMER:
        warnings.warn(f"untwin.{name} is called untwin.{FORMER[name]} now", DeprecationWarning, stacklevel=2)
        return __getattr__(FORMER[name])
    raise AttributeError(f"module 'untwin' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
