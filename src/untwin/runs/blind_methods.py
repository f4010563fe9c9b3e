"""Published ways to fit a picture and its kernel together, by name: what Blind() is measured against (docs/deblurring.md)."""

from __future__ import annotations

from collections.abc import Callable

from untwin.model.losses import SSIM
from untwin.model.networks.siren import Siren
from untwin.model.networks.skip import Skip
from untwin.model.priors.kernel import Perceptron, Softmax
from untwin.model.priors.untrained import Implicit, Untrained
from untwin.model.regularizers import GradientRatio
from untwin.solve.fit import Fit


def selfdeblur(width: int = 128, depth: int = 5, after: int = 1000) -> Fit:
    """SelfDeblur (Ren, Zhang, Wang, Hu and Zuo, CVPR 2020): rates 0.01 and 1e-4, squares, from iteration `after` on 1 − SSIM; rates to an
    eighth by a cosine in place of three steps."""
    image = Untrained(Skip(depth=depth, width=width, skip=16, inputs=8), jitter=0.001, rate=0.01)
    return Fit(image, kernel=Softmax(Perceptron(rate=1e-4)), later=SSIM(), after=after, decay=1 / 8)


def siren(width: int = 128, depth: int = 5, weight: float = 0.04) -> Fit:
    """An over-specified kernel from a coordinate network, l1/l2 of the gradients with one weight for all noises (Zhuang, Li, Wang, Liang
    and Sun, IJCV 2023). The published weight is 2e-4 of a ratio that grows with the picture, 190 times that of GradientRatio for 190 x 190
    pixels, a picture of 128 x 128 and its box; beside a mean of squares it is a hundred times too large."""
    image = Untrained(Skip(depth=depth, width=width, skip=16, inputs=8), jitter=0.001, rate=0.01)
    return Fit(image, kernel=Softmax(Implicit(Siren(64, 3), rate=1e-3)), regularizer=GradientRatio(weight))


METHODS: dict[str, Callable[[], Fit]] = {"selfdeblur": selfdeblur, "siren": siren}
