"""How an image is parametrised: pixels, untrained networks, their combinations; and trained denoisers."""

from untwin.model.denoiser import Denoiser
from untwin.model.networks.base import Network
from untwin.model.networks.decoder import ConvDecoder, DeepDecoder
from untwin.model.networks.siren import Siren
from untwin.model.networks.skip import Skip
from untwin.model.priors.base import Prior
from untwin.model.priors.combine import Cartesian, DoubleDIP, Polar
from untwin.model.priors.field import RandomField
from untwin.model.priors.generator import Generator
from untwin.model.priors.grid import Grid, Uniform
from untwin.model.priors.kernel import Perceptron, Softmax
from untwin.model.priors.projector import Projector
from untwin.model.priors.untrained import Implicit, Untrained
from untwin.model.priors.zernike import Zernike

__all__ = [
    "Network",
    "Prior",
    "Grid",
    "Uniform",
    "RandomField",
    "Zernike",
    "Untrained",
    "Implicit",
    "Projector",
    "Generator",
    "Polar",
    "Cartesian",
    "DoubleDIP",
    "Softmax",
    "Perceptron",
    "Skip",
    "DeepDecoder",
    "ConvDecoder",
    "Siren",
    "Denoiser",
]
