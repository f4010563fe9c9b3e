"""The kernel of an unknown blur from the picture alone, coarse to fine: expectation and maximisation, with the picture integrated out.

y = k * x + n. Every gradient of x is normal with a variance of its own (Jeffreys prior: w = 1 / E[gradient²]), so that what is likely of k
does not depend on one picture (Levin, Weiss, Durand and Freeman, CVPR 2011; Wipf and Zhang, J. Mach. Learn. Res. 15, 2014). In turn:

    x = argmin |M (y − k * x)|² / λ + Σ w |∇x|²            conjugate gradients; M is what was measured, x larger than y
    w = 1 / (|∇x|² + c(w)),  c(w) = mean over frequencies of |D|² / (|K|² / λ + w |D|²)
    k = argmin |M ∇(y − k * x)|² + Σ |D|² |K|² S, k >= 0,  S = mean over w of 1 / (|K|² / λ + w |D|²)

The variances c and S take the neighbourhood of a pixel for stationary. λ falls with what is left of y.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from untwin.random import derive
from untwin.solve.kernels import centred, cleaned, resized, surrounded

if TYPE_CHECKING:
    from torch import Tensor

STEP = math.sqrt(2)  # between two scales
FIRST_WIDTH = 1.0  # deviation of the Gaussian that the kernel is at first, pixels of the coarsest scale
LEAST_VARIANCE = 1e-6  # of a gradient; with 1e-8 the kernels are 0.05 to 0.1 less similar


@dataclass(frozen=True)
class Marginal:
    """The settings. Their source: kernels of 13 to 27 pixels on camera, astronaut and coins, 128 x 128, noise 0.01 and 0.05.

    noise: deviation of what is left where k is right, at full size. first_noise: at which every scale begins; kernels from two values can
        be compared, though they share the faults of the method. iterations: of k at each scale. inner: of x and w for each of them; with
        1 the kernel shrinks to a point (similarity 0.48 in place of 0.84). gradients: steps of conjugate gradients. descents: of k.
    share: of its greatest value, below which the kernel is cut after each step. smallest: pixels of the coarsest picture; with 11 the
        search went astray (0.69 in place of 0.88). shortest: pixels of the coarsest box.
    """

    noise: float = 0.01
    first_noise: float = 0.02
    iterations: int = 20
    inner: int = 4
    first_inner: int = 8
    gradients: int = 15
    descents: int = 30
    share: float = 0.03
    smallest: int = 24
    shortest: int = 5

    def kernel(self, y: Tensor, measured: Tensor, box: tuple[int, int], tick: Callable[[], None] = lambda: None) -> Tensor:
        """The kernel (*box) float32 at most, of sum 1, its centre of mass in the middle; odd sizes. y: (height, width), about 0 to 1.
        measured: bool like y. tick: called after each iteration."""
        k, before = None, 1.0
        for scale in self.scales(tuple(y.shape), box):
            picture, known = _coarser(y, measured, scale)
            most = tuple(math.ceil(b * scale) | 1 for b in box)
            first = _gaussian(most, y) if k is None else _finer(k, scale / before, most)
            k = self.at_scale(picture, known, first, max(self.noise * min(1.0, scale), 0.003), self.first_noise, tick)
            before = scale
        assert k is not None
        return k

    def polished(
        self, y: Tensor, measured: Tensor, kernel: Tensor, box: tuple[int, int], tick: Callable[[], None] = lambda: None
    ) -> Tensor:
        """A kernel once more at full size, from a picture that is begun anew: it comes nearer where there is little noise."""
        wide = surrounded(kernel, tuple(min(b, 2 * n + 1) | 1 for n, b in zip(kernel.shape, box)))
        return self.at_scale(y, measured, wide / wide.sum(), self.noise, self.noise, tick)

    def scales(self, shape: tuple[int, ...], box: tuple[int, int]) -> list[float]:
        """From the coarsest to 1."""
        scales = [1.0]
        while max(box) * scales[-1] / STEP >= self.shortest and min(shape) * scales[-1] / STEP >= self.smallest:
            scales.append(scales[-1] / STEP)
        return scales[::-1]

    def steps(self, shape: tuple[int, ...], box: tuple[int, int]) -> int:
        """Ticks of `kernel`."""
        return self.iterations * len(self.scales(shape, box))

    def at_scale(self, y: Tensor, measured: Tensor, kernel: Tensor, noise: float, first_noise: float, tick: Callable[[], None]) -> Tensor:
        """The kernel after the iterations of one scale."""
        import torch

        grid = _Grid(tuple(y.shape), tuple(kernel.shape))
        data, known = grid.placed(y * measured), grid.placed(measured.to(y.dtype))
        x = grid.surrounded(torch.where(measured, y, y[measured].mean()))
        least, level = noise**2, max(noise, first_noise) ** 2
        w = 1 / (_energy(x) + 1e-4)
        for step in range(self.iterations):
            spectrum = grid.forward(kernel)
            for _ in range(self.first_inner if step == 0 else self.inner):
                x = self._picture(grid, data, known, spectrum, level, w, x)
                w = 1 / (_energy(x) + _variances(grid, spectrum, level, w)).clamp(min=LEAST_VARIANCE)
            spread = _spread(grid, spectrum, level, w)
            kernel = self._kernel(grid, data, known, x, spread * known.sum(), kernel)
            spectrum = grid.forward(kernel)
            left = ((data - grid.inverse(grid.forward(x) * spectrum)) * known).square().sum() / known.sum()
            level = max(least, min(float(left + grid.mean(spectrum.abs().square() * spread)), level))
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

    def surrounded(self, y: Tensor) -> Tensor:
        """As an object: its border goes on to all sides, the rest is its mean."""
        import torch

        low = [(k - 1) // 2 for k in self.box]
        pad = (low[1], self.box[1] - 1 - low[1], low[0], self.box[0] - 1 - low[0])
        padded = torch.nn.functional.pad(y[None, None], pad, mode="replicate")[0, 0]
        out = torch.full(self.size, float(y.mean()), dtype=y.dtype)
        out[: padded.shape[0], : padded.shape[1]] = padded
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


def _coarser(y: Tensor, measured: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The picture with fewer pixels, each the mean of what was measured in it; bool where almost all was."""
    import torch

    if scale >= 1:
        return y, measured
    size = [round(n * scale) for n in y.shape]

    def smaller(a: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(a[None, None], size=size, mode="bilinear", antialias=True, align_corners=False)[0, 0]

    share = smaller(measured.to(y.dtype))
    return smaller(y * measured) / share.clamp(min=1e-3), share > 0.99


def _gaussian(box: tuple[int, ...], like: Tensor) -> Tensor:
    import torch

    lines = [torch.exp(-(torch.arange(n, dtype=like.dtype) - (n - 1) / 2).square() / (2 * FIRST_WIDTH**2)) for n in box]
    k = lines[0][:, None] * lines[1][None]
    return k / k.sum()


def _finer(k: Tensor, factor: float, most: tuple[int, ...]) -> Tensor:
    """A kernel at the next scale, in the box of what it covers and a margin, at most as large as `most`."""
    k = centred(resized(k, factor))
    inside = (k > 0.02 * k.max()).nonzero()
    extent = (inside.amax(0) - inside.amin(0) + 1).tolist()
    k = surrounded(k, tuple(min(m, int(e + 2 * max(3, 0.15 * e)) | 1) for e, m in zip(extent, most)))
    k = k.clamp(min=float(1e-4 * k.max()))
    return k / k.sum()
