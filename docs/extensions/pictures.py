"""The picture of an example for the gallery: python docs/extensions/pictures.py examples/01_reconstruct.py

Runs the script, which draws it, and stores it in docs/pictures, at most 900 pixels wide and with 256 colours, which keeps it small.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH, COLOURS = 900, 256
PICTURES = Path(__file__).parents[1] / "pictures"


def draw(example: Path) -> Path:
    """The path of the picture that was written."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "picture.png"
        subprocess.run([sys.executable, str(example.resolve()), str(drawn)], check=True, cwd=folder, stdout=subprocess.DEVNULL)
        with Image.open(drawn) as opened:
            picture = opened.convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    path = PICTURES / f"{example.stem}.png"
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
