"""A time series, which a prior for pictures does not suit: an hourglass without short cuts, against Savitzky-Golay at its best.

python examples/12_time_series.py series.png
"""

# %% Peaks of many widths, and noise.
import sys

import numpy as np
import torch
from scipy.signal import savgol_filter

import untwin as ut

rng, n = np.random.default_rng(4), 1024
t = np.arange(n) / n
places, widths, heights = rng.uniform(0.05, 0.95, 12), rng.uniform(0.004, 0.03, 12), rng.uniform(0.2, 0.7, 12)
truth = 0.1 + 0.7 * sum(h * np.exp(-(((t - c) / w) ** 2) / 2) for c, w, h in zip(places, widths, heights))
noisy = truth + 0.08 * rng.normal(size=n)


def decibels(x: np.ndarray) -> float:
    return -10 * float(np.log10(np.mean((x - truth) ** 2)))


# %% The classical answer at a usual window and order; and at the best of 27, which only the truth tells.
settings = [(w, p) for w in (5, 9, 13, 17, 21, 31, 41, 61, 81) for p in (2, 3, 4)]
window, order = max(settings, key=lambda s: decibels(savgol_filter(noisy, *s)))
print(f"noisy {decibels(noisy):.2f} dB; Savitzky-Golay (31, 3) {decibels(savgol_filter(noisy, 31, 3)):.2f} dB, ", end="")
print(f"at its best ({window}, {order}) {decibels(savgol_filter(noisy, window, order)):.2f} dB")

# %% A projector is made for pictures. Along one axis the default is a deeper network without short cuts (skip=0).
y = torch.from_numpy(noisy)[None].float()
results = {}
for name, prior in {"projector": "drp", "hourglass": None}.items():
    results[name] = ut.restore(y, prior=prior, steps=450).image[0].numpy()
    print(f"{name}: {decibels(results[name]):.2f} dB")

# %% Measured, true, and the hourglass.
from matplotlib.figure import Figure  # noqa: E402

figure = Figure(figsize=(8, 4), layout="constrained")
axis = figure.subplots()
axis.plot(t, noisy, ".", color="0.8", markersize=2, label="measured")
axis.plot(t, truth, color="black", label="truth")
axis.plot(t, results["hourglass"], "--", color="#0072B2", label="hourglass")
axis.set(xlabel="time", title="peaks of many widths")
axis.legend()
if len(sys.argv) > 1:
    figure.savefig(sys.argv[1], dpi=120)
