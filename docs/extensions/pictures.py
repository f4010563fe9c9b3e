"""The picture of an example for the gallery: python docs/extensions/pictures.py examples/01_reconstruct.py

Runs the script, which draws it, and stores it in docs/pictures with 256 colours, as wide as 150 kB allow and 900 pixels at most.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS, COLOURS, BYTES = (900, 700, 550, 400), 256, 150_000
PICTURES = Path(__file__).parents[1] / "pictures"


def draw(example: Path) -> Path:
    """The path of the picture that was written."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "picture.png"
        subprocess.run([sys.executable, str(example.resolve()), str(drawn)], check=True, cwd=folder, stdout=subprocess.DEVNULL)
        with Image.open(drawn) as opened:
            picture = opened.convert("RGB")
    path = PICTURES / f"{example.stem}.png"
    for width in (min(w, picture.width) for w in WIDTHS):
        small = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        small.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= BYTES:
            break
    return path


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
