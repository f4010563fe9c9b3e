"""Data fits and regularizers."""

from untwin.model.losses import SSIM, Absolute, Amplitude, Gamma, Huber, Intensity, Loss, Poisson, Squared
from untwin.model.regularizers import L1, TV, GradientRatio, IsotropicTV, Regularizer

__all__ = [
    "Regularizer",
    "Loss",
    "Amplitude",
    "Intensity",
    "Poisson",
    "Squared",
    "Absolute",
    "Huber",
    "Gamma",
    "SSIM",
    "TV",
    "IsotropicTV",
    "L1",
    "GradientRatio",
]
