"""JPEG artefacts: what the file says of each coefficient, and a denoiser for what it leaves open.

A JPEG stores round(DCT(x) / q) of 8 x 8 blocks. All pictures with the same rounded numbers form a cell, and a decoder takes its middle.

    python examples/13_jpeg_artefacts.py jpeg.png
"""

# %% A picture, stored at two qualities. Pillow hands out the file's own quantisation.
import io
import sys

import numpy as np
import torch
from PIL import Image
from scipy.fft import dctn, idctn
from skimage import data, restoration

from untwin.priors import Denoiser

truth = np.rint(data.camera().reshape(256, 2, 256, 2).mean((1, 3))).astype(np.uint8)[48:176, 64:192]


def stored(quality: int):
    Image.fromarray(truth).save(file := io.BytesIO(), "JPEG", quality=quality)
    picture = Image.open(file)
    return np.asarray(picture) / 255, np.reshape(picture.quantization[0], (8, 8)) / 255


# %% Back into the cell: no coefficient is farther than 0.3 q from its middle, where the cell reaches to 0.5 q.
def blocks(x):
    return x.reshape(x.shape[0] // 8, 8, x.shape[1] // 8, 8).transpose(0, 2, 1, 3)


def into_cell(x: np.ndarray, y: np.ndarray, q: np.ndarray, share: float = 0.3) -> np.ndarray:
    c, change = (dctn(blocks(a), axes=(2, 3), norm="ortho") for a in (y, x - y))
    inside = idctn(c + np.clip(change, -share * q, share * q), axes=(2, 3), norm="ortho")
    return inside.transpose(0, 2, 1, 3).reshape(x.shape)


# %% Against total variation, which is given the best of four weights, by the truth.
def psnr(image: np.ndarray) -> float:
    return -10 * float(np.log10(np.mean((image - truth / 255) ** 2)))


shown: dict[str, np.ndarray] = {}
for quality, sigma in ((10, 0.06), (30, 0.035)):  # about the deviation of the artefacts: they grow with q
    y, q = stored(quality)
    clean = into_cell(Denoiser()(torch.tensor(y[None, None]).float(), sigma)[0, 0].numpy(), y, q)
    smooth = max((restoration.denoise_tv_chambolle(y, w) for w in (0.02, 0.04, 0.06, 0.1)), key=psnr)
    print(f"quality {quality}: {psnr(y):.2f} dB, total variation {psnr(smooth):.2f}, denoiser and cell {psnr(clean):.2f}")
    shown |= {f"quality {quality}": y, f"restored from {quality}": clean}

# %% Side by side.
from matplotlib.figure import Figure  # noqa: E402

shown["truth"], figure = truth / 255, Figure(figsize=(12, 3.2), layout="constrained")
for axis, (name, image) in zip(figure.subplots(1, 5), shown.items()):
    axis.imshow(image, cmap="gray", vmin=0, vmax=1).axes.set(title=name, xticks=[], yticks=[])
figure.savefig((*sys.argv, "jpeg.png")[1])
