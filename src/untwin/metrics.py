"""How far two objects are apart, how fine an object is resolved, how noisy a picture is."""

from untwin.judge.blur import kernel_similarity
from untwin.judge.compare import Comparison
from untwin.judge.resolution import Curve, fsc, prtf
from untwin.model.alignment import twin
from untwin.model.noise_level import estimate_sigma

__all__ = [
    "Comparison",
    "twin",
    "Curve",
    "prtf",
    "fsc",
    "kernel_similarity",
    "estimate_sigma",
]
