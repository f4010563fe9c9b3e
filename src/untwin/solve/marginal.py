"""The kernel of an unknown blur, improved: expectation and maximisation, with the picture integrated out.

y = k * x + n. Every gradient of x is normal with a variance of its own (Jeffreys prior: w = 1 / E[gradient²]), so that what is likely of k
does not depend on one picture (Levin, Weiss, Durand and Freeman, CVPR 2011; Wipf and Zhang, J. Mach. Learn. Res. 15, 2014). In turn:

    x = argmin |M (y − k * x)|² / λ + Σ w |∇x|²            conjugate gradients; M is what was measured, x larger than y
    w = 1 / (|∇x|² + c(w)),  c(w) = mean over frequencies of |D|² / (|K|² / λ + w |D|²)
    k = argmin |M ∇(y − k * x)|² + Σ |D|² |K|² S, k >= 0,  S = mean over w of 1 / (|K|² / λ + w |D|²)

The variances c and S take the neighbourhood of a pixel for stationary. From the truth it stays there (similarity 0.93 to 0.99 on camera and
astronaut, 0.62 to 0.95 on chelsea); from a point or a small kernel it ends at kernels that are too short.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from untwin.random import derive
from untwin.solve.kernels import centred, cleaned, surrounded

if TYPE_CHECKING:
    from torch import Tensor

FIRST_GRADIENT = 0.03  # deviation of the gradients of the first picture, which is a flat one: from y itself its noise puts a point into the
# kernel (nine kernels of camera, chelsea, astronaut and brick at noise 0.01: mean similarity 0.78 in place of 0.74)
LEAST_VARIANCE = 1e-6  # of a gradient; with 1e-8 the kernels are 0.05 to 0.1 less similar


@dataclass(frozen=True)
class Marginal:
    """The settings. Their source: kernels of 13 to 27 pixels on camera, astronaut and coins, 128 x 128, noise 0.01 and 0.05.

    noise: deviation of what is left where the kernel is right. iterations: of the kernel. inner: of x and w for each of them; with 1 the
        kernel shrinks to a point (similarity 0.48 in place of 0.84). gradients: steps of conjugate gradients. descents: of the kernel.
    share: of its greatest value, below which the kernel is cut after each step. margin: pixels around the first kernel that it may grow by;
        with half its size in place of 3 about the same kernels (18 of them), and one of brick that goes astray.
    """

    noise: float = 0.01
    iterations: int = 20
    inner: int = 4
    first_inner: int = 8
    gradients: int = 15
    descents: int = 30
    share: float = 0.03
    margin: int = 3

    def improved(
        self, y: Tensor, measured: Tensor, kernel: Tensor, box: tuple[int, int], tick: Callable[[], None] = lambda: None
    ) -> Tensor:
        """A kernel (at most *box), float32, of sum 1, its centre of mass in the middle; odd sizes. y: (height, width), about 0 to 1.
        measured: bool like y. kernel: the first. tick: called after each iteration."""
        import torch

        kernel = surrounded(kernel, tuple(min(b, n + 2 * self.margin) | 1 for n, b in zip(kernel.shape, box)))
        kernel = kernel / kernel.sum()
        grid = _Grid(tuple(y.shape), tuple(kernel.shape))
        data, known = grid.placed(y * measured), grid.placed(measured.to(y.dtype))
        x = torch.full(grid.size, float(y[measured].mean()), dtype=y.dtype)
        level, w = self.noise**2, torch.full(grid.size, 1 / FIRST_GRADIENT**2, dtype=y.dtype)
        for _ in range(2):
            x = self._picture(grid, data, known, grid.forward(kernel), level, w, x)
        w = 1 / (_energy(x) + 1e-4)
        for step in range(self.iterations):
            spectrum = grid.forward(kernel)
            for _ in range(self.first_inner if step == 0 else self.inner):
                x = self._picture(grid, data, known, spectrum, level, w, x)
                w = 1 / (_energy(x) + _variances(grid, spectrum, level, w)).clamp(min=LEAST_VARIANCE)
            spread = _spread(grid, spectrum, level, w)
            kernel = self._kernel(grid, data, known, x, spread * known.sum(), kernel)
            tick()
        return centred(cleaned(kernel, 0.05))

    def _picture(self, grid: _Grid, data: Tensor, known: Tensor, spectrum: Tensor, level: float, w: Tensor, x: Tensor) -> Tensor:
        """argmin |M (y − k * x)|² / λ + Σ w |∇x|²."""

        def normal(v: Tensor) -> Tensor:
            blurred = grid.inverse(grid.forward(v) * spectrum) * known
            a, b = _gradient(v)
            return grid.inverse(grid.forward(blurred) * spectrum.conj()) / level + _divergence(w * a, w * b)

        right = grid.inverse(grid.forward(data) * spectrum.conj()) / level
        usual = float(w.log().mean().exp())
        weight = spectrum.abs().square() / level + usual * grid.laplacian + 1e-6 / level
        return _conjugate_gradients(normal, right, x, self.gradients, lambda r: grid.inverse(grid.forward(r) / weight))

    def _kernel(self, grid: _Grid, data: Tensor, known: Tensor, x: Tensor, spread: Tensor, kernel: Tensor) -> Tensor:
        """argmin |M ∇(y − k * x)|² + Σ |D|² |K|² S over k >= 0, cut and of sum 1."""
        import torch

        gradients = [(a, b, known * known.roll(-1, axis)) for axis, (a, b) in enumerate(zip(_gradient(x), _gradient(data)))]
        parts = [(grid.forward(a), m) for a, _, m in gradients]
        box = tuple(kernel.shape)

        def normal(v: Tensor) -> Tensor:
            s = grid.forward(v)
            total = s * (spread * grid.laplacian)
            for a, m in parts:
                total = total + grid.forward(grid.inverse(s * a) * m) * a.conj()
            return grid.inverse(total)[: box[0], : box[1]]

        right = torch.stack([grid.forward(b * m) * grid.forward(a).conj() for a, b, m in gradients]).sum(0)
        kernel = _nonnegative(normal, grid.inverse(right)[: box[0], : box[1]], kernel, self.descents)
        return cleaned(kernel, self.share)


@dataclass(frozen=True)
class _Grid:
    """The array on which y, x and k meet: at least as large as the object, and quick to transform. y lies where the kernel's end does."""

    shape: tuple[int, ...]
    box: tuple[int, ...]

    @cached_property
    def size(self) -> tuple[int, ...]:
        from scipy.fft import next_fast_len

        return tuple(next_fast_len(n + k - 1, real=True) or 0 for n, k in zip(self.shape, self.box))

    @cached_property
    def laplacian(self) -> Tensor:
        """|D|²: of both differences together."""
        import torch

        rows, columns = torch.fft.fftfreq(self.size[0])[:, None], torch.fft.rfftfreq(self.size[1])[None]
        return 4 * (math.pi * rows).sin().square() + 4 * (math.pi * columns).sin().square()

    @cached_property
    def _often(self) -> Tensor:
        """How many frequencies each column of a half spectrum stands for."""
        import torch

        often = torch.full((1, self.size[1] // 2 + 1), 2.0)
        often[:, 0] = 1
        if self.size[1] % 2 == 0:
            often[:, -1] = 1
        return often

    def mean(self, spectrum: Tensor) -> Tensor:
        """Over all frequencies."""
        return (spectrum * self._often).sum() / math.prod(self.size)

    def forward(self, a: Tensor) -> Tensor:
        import torch

        return torch.fft.rfft2(a, s=self.size)

    def inverse(self, a: Tensor) -> Tensor:
        import torch

        return torch.fft.irfft2(a, s=self.size)

    def placed(self, y: Tensor) -> Tensor:
        out = y.new_zeros(self.size)
        out[tuple(slice(k - 1, k - 1 + n) for n, k in zip(self.shape, self.box))] = y
        return out


def _gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.roll(-1, 0) - x, x.roll(-1, 1) - x


def _divergence(a: Tensor, b: Tensor) -> Tensor:
    """The adjoint of `_gradient`."""
    return a.roll(1, 0) - a + b.roll(1, 1) - b


def _energy(x: Tensor) -> Tensor:
    a, b = _gradient(x)
    return (a.square() + b.square()) / 2


def _variances(grid: _Grid, spectrum: Tensor, level: float, w: Tensor) -> Tensor:
    """c(w), worked out for 12 values of w and interpolated."""
    import torch

    log = w.log()
    low, high = float(log.min()), float(log.max()) + 1e-6
    likelihood = spectrum.abs().square() / level
    table = [grid.mean(grid.laplacian / 2 / (likelihood + v * grid.laplacian + 1e-12)) for v in torch.linspace(low, high, 12).exp()]
    values = torch.stack(table).log()
    position = ((log - low) / (high - low) * 11).clamp(0, 10.999)
    index = position.long()
    return torch.lerp(values[index], values[index + 1], position - index).exp()


def _spread(grid: _Grid, spectrum: Tensor, level: float, w: Tensor) -> Tensor:
    """S: what is not known of each frequency of x, of the places together."""
    import torch

    typical = torch.quantile(w.flatten()[:: max(1, w.numel() // 100_000)].log(), torch.linspace(0.08, 0.92, 6)).exp()
    likelihood = (spectrum.abs().square() + 1e-6) / level
    return sum((1 / (likelihood + v * grid.laplacian) for v in typical), torch.zeros_like(likelihood)) / len(typical)


def _conjugate_gradients(normal: Any, right: Tensor, x: Tensor, steps: int, precondition: Any) -> Tensor:
    r = right - normal(x)
    p = z = precondition(r)
    rz, goal = (r * z).sum(), 1e-8 * float(right.square().sum())
    for _ in range(steps):
        q = normal(p)
        alpha = rz / (p * q).sum().clamp(min=1e-30)
        x, r = x + alpha * p, r - alpha * q
        if float(r.square().sum()) < goal:
            break
        z = precondition(r)
        before, rz = rz, (r * z).sum()
        p = z + rz / before * p
    return x


def _nonnegative(normal: Any, right: Tensor, k: Tensor, steps: int) -> Tensor:
    """argmin <k, A k> / 2 − <right, k> over k >= 0: projected gradients with momentum that begins anew where it points uphill (Beck and
    Teboulle, SIAM J. Imaging Sci. 2, 2009; O'Donoghue and Candes, Found. Comput. Math. 15, 2015)."""
    import torch

    v = torch.rand(k.shape, generator=torch.Generator().manual_seed(derive(0, "largest eigenvalue"))).to(k)
    bound = 1.0
    for _ in range(6):
        v = normal(v)
        bound = float(v.norm())
        v = v / max(bound, 1e-30)
    z, t = k, 1.0
    for _ in range(steps):
        new = (z - (normal(z) - right) / (1.05 * bound)).clamp(min=0)
        later = (1 + math.sqrt(1 + 4 * t * t)) / 2
        if float(((z - new) * (new - k)).sum()) > 0:
            z, t = new, 1.0
        else:
            z, t = new + (t - 1) / later * (new - k), later
        k = new
    return k
