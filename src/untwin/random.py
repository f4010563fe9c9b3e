"""Seeds: every stream of random numbers has one of its own, a function of the run's seed and of what the numbers are for."""

from __future__ import annotations

import hashlib


def derive(seed: int, *purpose: int | str) -> int:
    """A seed in [0, 2⁶³) for one purpose, such as derive(seed, "start", 3). Seeds of different runs or purposes have nothing in common:
    they are the first bits of a hash (BLAKE2b) of everything that was said."""
    text = "/".join(map(repr, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
