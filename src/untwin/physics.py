"""What the detector would read: waves, detection, symmetries; and the linear physics of pictures."""

from untwin.model.counts import Modulus
from untwin.model.deepinv import from_deepinv
from untwin.model.detection import Background, Coherent, CoherentFactor, Detection, Ideal, Sensitivity, Series
from untwin.model.image.base import Forward, Identity
from untwin.model.image.blur import Blur
from untwin.model.image.downsample import Downsample
from untwin.model.image.mask import Mask
from untwin.model.image.mri import MRI
from untwin.model.inverse import InverseProblem
from untwin.model.physics import Physics
from untwin.model.symmetry import FarFieldSymmetry, GlobalPhase, NoSymmetry, ShiftAndScale, Symmetry
from untwin.model.unknown import Unknown
from untwin.model.waves.base import Waves
from untwin.model.waves.farfield import FarField
from untwin.model.waves.fresnel import Fresnel
from untwin.model.waves.linear import Gaussian, Linear
from untwin.model.waves.masked import Masked

__all__ = [
    "Physics",
    "Waves",
    "FarField",
    "Masked",
    "Fresnel",
    "Linear",
    "Gaussian",
    "Detection",
    "Ideal",
    "Coherent",
    "CoherentFactor",
    "Background",
    "Sensitivity",
    "Series",
    "Unknown",
    "Modulus",
    "Symmetry",
    "FarFieldSymmetry",
    "GlobalPhase",
    "NoSymmetry",
    "ShiftAndScale",
    "InverseProblem",
    "Identity",
    "Forward",
    "Mask",
    "Blur",
    "Downsample",
    "MRI",
    "from_deepinv",
]
