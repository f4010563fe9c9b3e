"""Numbers of few levels: what the zeros hide."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import untwin as ut
from untwin.data.measurement import Noise
from untwin.judge.metrics import HIDDEN_BY_ZERO, rounding_error
from untwin.judge.trust import Cause
from untwin.simulate.detector import measure
from untwin.simulate.shapes import CLASSES


def test_it_is_the_root_of_what_zeros_hide_over_the_sum():
    numbers, measured = torch.tensor([[0.0, 0.0, 4.0], [96.0, 0.0, 50.0]]), torch.tensor([[True, True, True], [True, False, False]])
    assert rounding_error(numbers, measured) == pytest.approx((2 * 4 * HIDDEN_BY_ZERO / 100) ** 0.5)
    assert rounding_error(3 * numbers, measured) == pytest.approx(rounding_error(numbers, measured)), "no unit"
    assert rounding_error(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool)) == 0


def test_a_pattern_of_8_bits_is_not_trusted_and_the_same_one_of_16_bits_is():
    rng = np.random.default_rng([77, 12])
    pattern = measure(CLASSES["poly"]((64, 64), rng), 1e6, rng)[0]
    for levels, trusted in ((255, None), (65_535, True)):
        numbers = np.round(pattern.intensity.astype(float) / pattern.intensity.max() * levels)
        s = ut.reconstruct(ut.Pattern(numbers, pattern.measured, noise=Noise("unknown")), seed=1, workers=1)
        assert s.verdict.trusted is trusted and s.numbers["agreement"] < 0.1, "families agree on both"
        assert (s.numbers["rounding_error"] > 0.1) == (s.verdict.cause is Cause.ROUNDING) == (trusted is None)
    assert "rounding_error" not in ut.reconstruct(pattern, "20*HIO + ShrinkWrap + 5*ER", starts=2, workers=1).numbers
