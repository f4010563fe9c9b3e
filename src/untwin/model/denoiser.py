"""A denoiser as a prior: the shipped network, or any function that takes the noise out of a picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from untwin import expression
from untwin.checks import number_argument, require_int, require_number
from untwin.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from untwin.model.picture import Picture

LEVEL = 0.1  # noise above is brought down to it by less contrast, which gains 0.9 dB at 0.2 (docs/denoisers.md)
LEAST = 16  # pixels along an axis
NEGATIVE = 0.25  # of white less black: how far below black the network still knows what it sees


@dataclass(frozen=True, repr=False)
class Denoiser:
    """x, sigma -> x without white Gaussian noise of deviation sigma, in the unit of x.

    source: the name of a shipped network ("dncnn", docs/denoisers.md: pictures of two axes), or a function (x, sigma) -> x of torch
        tensors (1, channels, *grid). A network of torch, such as a denoiser of deepinv, is set to evaluation.
    channels: that a function takes at once; 1 hands it each channel by itself, None all there are. The shipped network is for grey
        pictures: three channels go through it as brightness and two differences, others one by one.
    black, white: the numbers that are 0 and 1 to the source; x may lie outside.
    Of complex x the real and the imaginary part are pictures of their own.
    """

    source: str | Callable[[Any, float], Any] = "dncnn"
    channels: int | None = None
    black: float = 0.0
    white: float = 1.0

    def __post_init__(self) -> None:
        from untwin.model.networks import dncnn

        if isinstance(self.source, str):
            dncnn.require(self.source)
            if self.channels is not None:
                raise InputError(f"{self!r}: channels= is for a function; the shipped networks take any number of channels")
        elif not callable(self.source):
            raise InputError(f"Denoiser({self.source!r}): expected the name of a shipped network, or a function (x, sigma) -> x")
        if self.channels is not None:
            require_int(self, "channels", 1, 100_000)
        require_number(self, "black", -math.inf)
        require_number(self, "white", self.black, above=True)

    def check(self, problem: Picture) -> None:
        """Raise InputError where the pictures of this problem are none for the denoiser. A function is tried, once."""
        import torch

        channels, grid = problem.shape[0], problem.grid
        if isinstance(self.source, str):
            if len(grid) != 2 or min(grid) < LEAST:
                raise InputError(
                    f"{self!r} takes pictures of two axes with {LEAST} pixels at least along each, this one has {grid}. Try an untrained "
                    "prior, such as Untrained(), or a denoiser of your own"
                )
            return
        if self.channels not in (None, 1, channels):
            raise InputError(f"{self!r} takes {self.channels} channels, the picture has {channels}; take another denoiser")
        self(torch.full((1, *problem.shape), float(self.black), device=problem.device), LEVEL)

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """(starts, channels, *grid), real or complex, like x. Raises InputError where a function returns another shape, or sigma is below
        0."""
        import torch

        sigma = number_argument("sigma", sigma, 0)
        if x.is_complex():
            return torch.complex(self._signed(x.real, sigma), self._signed(x.imag, sigma))
        if not sigma:
            return x
        span = self.white - self.black
        unit = ((x - self.black) / span).float()
        z = self._bounded(unit, sigma / span) if isinstance(self.source, str) else self._function(unit, sigma / span)
        return (z * span + self.black).to(x.dtype)

    def _signed(self, x: Tensor, sigma: float) -> Tensor:
        """Of a real or imaginary part: where it goes far below black, grey stands for what is black to the user, since the network makes
        nothing of negative pictures (once, without a script: with a phase k-space came to 5 and 12 dB)."""
        span = self.white - self.black
        if float(x.min()) >= self.black - NEGATIVE * span:
            return self(x, sigma)
        return replace(self, black=self.black - span)(x, sigma)

    def _bounded(self, x: Tensor, sigma: float) -> Tensor:
        """What the network makes, no brighter and no darker than what it was shown: beyond white it adds to peaks, and 30 steps of HQS from
        k-space grew a point of 1.1 to thousands (the moon, 7 dB; bounded 37)."""
        axes = tuple(range(2, x.ndim))
        return self._network(x, sigma).maximum(x.amin(axes, keepdim=True)).minimum(x.amax(axes, keepdim=True))

    def _network(self, x: Tensor, sigma: float) -> Tensor:
        """Each channel at a contrast at which its noise is no more than LEVEL. Three channels as brightness and differences, whose noise is
        as white as theirs: 0.1 to 0.8 dB better than one by one (docs/denoisers.md)."""
        import torch

        from untwin.model.networks.dncnn import dncnn

        colours = x.shape[1] == 3
        turn = x.new_tensor(_BRIGHTNESS_AND_DIFFERENCES) if colours else torch.eye(x.shape[1], device=x.device)
        y = torch.einsum("ij,bjhw->bihw", turn, x - 0.5)
        planes = []
        for i in range(x.shape[1]):
            contrast = min(3**-0.5 if colours and i == 0 else 1.0, LEVEL / sigma)  # the brightness as a mean, 0 to 1
            planes.append((dncnn(y[:, i : i + 1] * contrast + 0.5, sigma * contrast, str(self.source)) - 0.5) / contrast)
        return torch.einsum("ij,bihw->bjhw", turn, torch.cat(planes, 1)) + 0.5

    def _function(self, x: Tensor, sigma: float) -> Tensor:
        import torch

        assert callable(self.source)
        if isinstance(self.source, torch.nn.Module):
            self.source.eval()
        rows = x.reshape(-1, 1, 1, *x.shape[2:]) if self.channels == 1 else x.unsqueeze(1)
        clean = []
        for row in rows:
            with torch.set_grad_enabled(x.requires_grad):  # the numbers of a network want none
                z = self.source(row, sigma)
            try:
                z = torch.as_tensor(z).to(row)
            except (TypeError, ValueError, RuntimeError) as e:
                raise InputError(f"{self!r} returned {type(z).__name__}; expected a tensor or an array like its picture") from e
            if z.shape != row.shape:
                raise InputError(f"{self!r} made {tuple(z.shape)} of {tuple(row.shape)}; expected the same shape")
            clean.append(z)
        return torch.stack(clean).reshape(x.shape)

    def __repr__(self) -> str:
        """The text of a recipe; of a function, its name, which none reads back."""
        text, name = expression.write(self), getattr(self.source, "__name__", type(self.source).__name__)
        return text if isinstance(self.source, str) else text.replace(repr(self.source), name)


_BRIGHTNESS_AND_DIFFERENCES = (
    (1 / math.sqrt(3),) * 3,
    (1 / math.sqrt(2), -1 / math.sqrt(2), 0.0),
    (1 / math.sqrt(6), 1 / math.sqrt(6), -2 / math.sqrt(6)),
)
