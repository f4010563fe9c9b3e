"""Bring a denoiser of SCICO's wheel into the package: its batch normalisation folded into its convolutions, with licence and origin.

    pip download scico==0.0.7 --no-deps && unzip scico-0.0.7-py3-none-any.whl -d scico && pip install msgpack
    python benchmarks/ship_denoiser.py scico

Nothing of SCICO or JAX is run: the weights are arrays in a msgpack file. Writes NAME.safetensors and NAME.md
to src/untwin/model/networks/shipped/denoisers.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import torch

from untwin.model.networks import dncnn, weights

VERSION, EPSILON = "0.0.7", 1e-5  # of the wheel; of flax's BatchNorm
LIMITS = "grey pictures from 0 to 1, white Gaussian noise of deviation 0 to 0.2; on which photographs it was trained is not published"


def unpacked(file: Path) -> dict:
    """The tree of arrays that flax wrote."""
    import msgpack

    def array(code: int, content: bytes) -> object:
        if code != 1:
            return content
        shape, kind, buffer = msgpack.unpackb(content, raw=False)
        return np.frombuffer(buffer, dtype=kind).reshape(shape).copy()

    return msgpack.unpackb(file.read_bytes(), ext_hook=array, raw=False, strict_map_key=False)


def folded(tree: dict) -> dict[str, torch.Tensor]:
    """weight.i (out, in, 3, 3) and bias.i (out) of layer i; what the last one says of the noise, which nobody reads, is left out."""
    params, statistics = tree["params"], tree["batch_stats"]
    layers = [(params["conv_start"]["kernel"], None)]
    for i in range(sum(name.startswith("ConvBNBlock") for name in params)):
        block, mean = params[f"ConvBNBlock_{i}"], statistics[f"ConvBNBlock_{i}"]
        (conv,), (norm,) = ([n for n in block if part in n] for part in ("Conv", "BatchNorm"))
        gain = block[norm]["scale"] / np.sqrt(mean[norm]["var"] + EPSILON)
        layers.append((block[conv]["kernel"] * gain, block[norm]["bias"] - mean[norm]["mean"] * gain))
    layers.append((params["conv_end"]["kernel"][..., :1], None))
    tensors = {}
    for i, (kernel, bias) in enumerate(layers):
        tensors[f"weight.{i}"] = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        tensors[f"bias.{i}"] = torch.zeros(kernel.shape[3]) if bias is None else torch.from_numpy(bias)
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the folder of the unpacked wheel")
    parser.add_argument("--file", default="dncnn6N", help="of scico/data/flax")
    parser.add_argument("--name", default="dncnn")
    args = parser.parse_args()
    source = args.wheel / "scico" / "data" / "flax" / f"{args.file}.mpk"
    licence = (args.wheel / f"scico-{VERSION}.dist-info" / "licenses" / "LICENSE").read_text()
    card = {
        "architecture": "DnCNN (Zhang et al., IEEE Trans. Image Process. 26, 2017) with the deviation of the noise as a second channel",
        "origin": f"{args.file}.mpk of scico {VERSION} (PyPI), Los Alamos National Laboratory; batch normalisation folded in",
        "sha256_of_origin": hashlib.sha256(source.read_bytes()).hexdigest(),
        "trained_for": LIMITS,
        "licence": licence,
    }
    path = dncnn.FOLDER / f"{args.name}{weights.ENDING}"
    path.parent.mkdir(exist_ok=True)
    tensors = folded(unpacked(source))
    weights.write(path, tensors, card)
    size = sum(t.numel() for t in tensors.values())
    lines = [f"# {args.name}", "", f"{card['architecture']}. {size:,} numbers, float32.", ""]
    lines += [f"Origin: {card['origin']}.", f"SHA-256 of that file: `{card['sha256_of_origin']}`.", "", f"Trained for {LIMITS}.", ""]
    path.with_suffix(".md").write_text("\n".join([*lines, "Licence of the weights:", "", "```", licence.rstrip(), "```", ""]))
    print(path.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
