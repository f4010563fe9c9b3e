"""What all pages have in common: the style sheet, the words of a verdict, and templates that escape whatever they are given."""

from __future__ import annotations

import base64
import functools
import hashlib
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
STYLE_SHEET = (TEMPLATES / "style.css").read_text("utf-8")

VERDICTS = {  # colour is never the only sign: each has its symbol and its words
    True: ("trusted", "✔", "Trusted"),
    False: ("doubted", "✘", "Do not trust"),
    None: ("unknown", "?", "Cannot say"),
}


def page(template: str, scripts: tuple[str, ...] = (), images: str = "data:", **values: Any) -> str:
    """The text of a page. template, scripts: names of files in templates/; a page runs these scripts and no other, and asks the network for
    nothing (its Content-Security-Policy). images: where they may come from. values: for the template, where they are escaped unless it says
    that they are safe."""
    programs = [(TEMPLATES / name).read_text("utf-8") for name in scripts]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(p.encode()).digest()).decode()}'" for p in programs) or "'none'"
    policy = f"default-src 'none'; img-src {images}; style-src 'unsafe-inline'; script-src {hashes}"
    return _environment().get_template(template).render(style=STYLE_SHEET, scripts=programs, policy=policy, **values)


def fragment(template: str, **values: Any) -> str:
    """A piece of somebody else's page. template: in templates/. values: likewise."""
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, cache_size=8
    )


def picture(png: bytes) -> str:
    """For the src of an image."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def digits(value: float) -> str:
    """Four digits that count; large numbers whole, in groups of three."""
    return f"{value:,.0f}".replace(",", "\u2009") if 1e4 <= abs(value) < 1e12 else f"{value:.4g}"


def table(rows: dict[str, str]) -> str:
    body = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items())
    return f'<div class="scroll"><table>{body}</table></div>'
