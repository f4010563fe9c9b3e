"""Unrolling: sixteen iterations as a network, trained for one operator, against the same iterations by the book.

y = A x + noise, x sparse. ISTA is x' = soft(x - t A*(A x - y), s); unrolled (Gregor and LeCun, ICML 2010), each of 16 iterations has a
matrix and a threshold of its own, fitted to pairs (x, y). Here it is trained on 51,200 pairs. With another A it fails.
"""

# %% Pairs without end, and the operator.
import sys

import torch

generator, rows = torch.Generator().manual_seed(0), {}
a, b = torch.randn(2, 50, 100, generator=generator) / 50**0.5


def pairs(count: int, a: torch.Tensor, share: float = 0.08):
    x = torch.randn(count, 100, generator=generator) * (torch.rand(count, 100, generator=generator) < share)
    return x, x @ a.T + 0.02 * torch.randn(count, 50, generator=generator)


# %% The iterations: matrices and thresholds are the book's, or are learned from there.
def unrolled(y, a, matrices, thresholds):
    x = torch.zeros(len(y), 100)
    for w, s in zip(matrices, thresholds):
        z = x - (x @ a.T - y) @ w.T
        x = z.sign() * (z.abs() - s).relu()
    return x


def error(x, truth) -> float:
    return 10 * float(((x - truth).square().sum() / truth.square().sum()).log10())


def book(a, count: int):
    t = torch.linalg.matrix_norm(a, 2) ** -2
    return [t * a.T] * count, [0.05 * t] * count


# %% Training: 400 steps of Adam on 128 new pairs each.
matrices, thresholds = ([v.clone().requires_grad_() for v in part] for part in book(a, 16))
descent = torch.optim.Adam([{"params": matrices, "lr": 1e-3}, {"params": thresholds, "lr": 1e-3}])
for x, y in (pairs(128, a) for _ in range(400)):
    descent.zero_grad()
    (unrolled(y, a, matrices, thresholds) - x).square().sum(1).mean().backward()
    descent.step()

# %% On new pairs; on another operator; on signals twice as dense. With another A the book is as good, and what was learned diverges.
from matplotlib.figure import Figure  # noqa: E402

for name, (x, y), m in (("as trained", pairs(500, a), a), ("another A", pairs(500, b), b), ("twice as dense", pairs(500, a, 0.16), a)):
    runs = {"ISTA 16": book(m, 16), "ISTA 1000": book(m, 1000), "unrolled 16": (matrices, thresholds)}
    rows[name] = {k: error(unrolled(y, m, *v).detach(), x) for k, v in runs.items()}
    print(name, {k: f"{v:.1f} dB" for k, v in rows[name].items()})
axis = Figure(figsize=(7, 3), layout="constrained").subplots()
for i, k in enumerate(runs):
    axis.bar([j + 0.25 * i for j in range(3)], [r[k] for r in rows.values()], 0.25, label=k)
axis.set(xticks=[0.25, 1.25, 2.25], xticklabels=list(rows), ylabel="error, dB (lower is better)")
axis.legend()
axis.figure.savefig((*sys.argv, "unrolled.png")[1])
