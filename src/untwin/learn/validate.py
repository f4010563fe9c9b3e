"""How good a network is: errors modulo shift, twin and phase, and the misfit to the pattern beside them, never one alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from untwin.learn.objectives import magnitudes, nearest_copy
from untwin.model.networks.architecture import CdiNN

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from untwin.model.networks.architecture import Architecture

OBJECT = 0.1  # of the largest magnitude: where the object is, as published for CDI NN


def metrics(of: Architecture, output: Tensor, truth: Tensor, amplitude: Tensor) -> dict[str, Any]:
    """What `output` is worth against objects (batch, *box), as plain numbers, means over the batch; each object is first moved, as a
    whole, onto the prediction (whole pixels, twin).

    error: median of E = min |x̂ s − x| / |x|, s a complex number. raw_error: the same without moving it.
    iou, iou_half: of where the magnitude is above 0.1, or 0.5.
    phase_rms: rad, inside the object (magnitude above 0.1), best constant removed, pooled over the pixels of all samples; phase_constant:
    of the best constant alone; phase_gain: 1 − phase_rms / phase_constant.
    misfit, misfit_95: median and 95 % quantile of sqrt( Σ (s |F x̂| − A)² / Σ A² ), s fitted.
    CDI NN: excess_magnitude, excess_phase: cross-entropy per pixel above its floor.
    """
    import torch

    prediction = of.image(output)
    shifted, nearest = nearest_copy(of, truth, prediction, turn=False), nearest_copy(of, truth, prediction)
    inside = nearest.abs() > OBJECT
    misfit = _misfit(of, prediction, amplitude)
    result: dict[str, Any] = {
        "error": float(_error(prediction, nearest).median()),
        "raw_error": float(_error(prediction, truth).median()),
        "iou": _overlap(nearest.abs(), prediction.abs(), OBJECT),
        "iou_half": _overlap(nearest.abs(), prediction.abs(), 0.5),
        "misfit": float(misfit.median()),
        "misfit_95": float(misfit.quantile(0.95)),
    }
    if truth.is_complex():
        unit = torch.polar(torch.ones_like(prediction.abs()), prediction.angle() - nearest.angle()).where(inside, prediction.new_zeros(()))
        own = torch.polar(torch.ones_like(prediction.abs()), nearest.angle()).where(inside, prediction.new_zeros(()))
        wrong, constant = (_about_mean(u, inside) for u in (unit, own))
        result |= {"phase_rms": wrong, "phase_constant": constant, "phase_gain": 1 - wrong / max(constant, 1e-12)}
    if isinstance(of, CdiNN):
        excess = (of.entropies(output, shifted).double() - of.floor(shifted)).mean(0)
        result |= {"excess_magnitude": float(excess[0]), "excess_phase": float(excess[1])}
    return result


def _overlap(a: Tensor, b: Tensor, level: float) -> float:
    """Intersection over union of where both are above a level, mean over the batch."""
    a, b = a > level, b > level
    return float(((a & b).flatten(1).sum(1) / (a | b).flatten(1).sum(1).clamp(min=1)).mean())


def _about_mean(unit: Tensor, inside: Tensor) -> float:
    """rms of the angles of `unit`, each sample's circular mean removed, over the pixels inside of all samples."""
    mean = unit.flatten(1).sum(1)
    rotated = unit * (mean.conj() / mean.abs().clamp(min=1e-12)).reshape((-1,) + (1,) * (unit.ndim - 1))
    return float((rotated.angle().square().where(inside, rotated.real.new_zeros(())).sum() / inside.sum().clamp(min=1)).sqrt())


def _error(prediction: Tensor, truth: Tensor) -> Tensor:
    a, b = prediction.flatten(1), truth.flatten(1).to(prediction.dtype)
    overlap = (a.conj() * b).sum(1).abs().square()
    return (1 - overlap / ((a.abs().square().sum(1) * b.abs().square().sum(1)).clamp(min=1e-30))).clamp(min=0).sqrt()


def _misfit(of: Architecture, prediction: Tensor, amplitude: Tensor) -> Tensor:
    f = magnitudes(of, prediction)
    measured = amplitude.isfinite()
    a, f = amplitude.nan_to_num(0).flatten(1), f.where(measured, f.new_zeros(())).flatten(1)
    overlap = (a * f).sum(1).square() / (f.square().sum(1) * a.square().sum(1)).clamp(min=1e-30)
    return (1 - overlap).clamp(min=0).sqrt()


def measured_amplitude(intensity: Tensor, measured: Tensor) -> Tensor:
    """√I, NaN where not measured."""
    return intensity.clamp(min=0).sqrt().masked_fill(~measured, float("nan"))


def validated(of: Architecture, net: Module, samples: Any, batch: int = 64) -> dict[str, Any]:
    """`metrics` of a network on samples with image, intensity and measured (a Samples of untwin.simulate)."""
    import torch

    device = next(net.parameters()).device
    outputs, truths, amplitudes = [], [], []
    net.eval()
    with torch.no_grad():
        for at in range(0, len(samples.image), batch):
            rows = slice(at, at + batch)
            intensity, measured = samples.intensity[rows].to(device), samples.measured[rows].to(device)
            outputs.append(net(of.take(intensity, measured)).float())
            truths.append(of.truth(samples.image[rows].to(device)))
            amplitudes.append(measured_amplitude(intensity, measured))
        result = metrics(of, torch.cat(outputs), torch.cat(truths), torch.cat(amplitudes))
    net.train()
    return result
