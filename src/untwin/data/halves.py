"""Half of a pattern as a table of text: 2 n lines of n whole numbers, columns 0 to n − 1 of 2 n in FFT order.

So are the patterns of the benchmark of Elser, Lan and Bendory (SIAM J. Imaging Sci. 11, 2018; 128 lines of 64 numbers): intensities of a
real object, of which the other half is the mirror image, I(−q) = I(q). Zero frequency and the highest row are written as 0 and the highest
column is left out: they are not known. The files have no ending, and nothing in them says what they are.
"""

from __future__ import annotations

import numpy as np

SMALLEST = 8  # columns


def may_be_half(line: bytes) -> bool:
    """Is this line the first of such a table: whole numbers, the first of them 0?"""
    tokens = line.split()
    return len(tokens) >= SMALLEST and tokens[0] == b"0" and all(t.isdigit() for t in tokens)


def is_half(values: np.ndarray) -> bool:
    """2 n x n whole numbers, none below 0, whose first column is its own mirror image, and 0 at zero frequency and in the highest row."""
    if values.ndim != 2 or len(values) != 2 * values.shape[1] or values.shape[1] < SMALLEST:
        return False
    integers = np.isfinite(values).all() and (values >= 0).all() and (values == np.rint(values)).all()
    column, highest = values[:, 0], values[values.shape[1]]
    return bool(integers and np.array_equal(column[1:], column[:0:-1]) and column[0] == 0 and not highest.any() and values.any())


def completed(half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(values, bad), both 2 n x 2 n in FFT order: the other half by symmetry, and True where nothing is known."""
    size = len(half)
    values = np.zeros((size, size), half.dtype)
    values[:, : size // 2] = half
    values[:, size // 2 + 1 :] = np.roll(np.flip(half[:, 1:]), 1, 0)
    bad = np.zeros(values.shape, bool)
    bad[0, 0] = bad[size // 2] = bad[:, size // 2] = True
    return values, bad
