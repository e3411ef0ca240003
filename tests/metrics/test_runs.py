"""Sums over runs against loops, and single precision only where it is exact."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.metrics.runs import narrow, sums_of_runs


@pytest.mark.parametrize("weighted", [False, True])
def test_a_row_adds_up_its_run(weighted) -> None:
    rng = np.random.default_rng(0)
    order, values = rng.permutation(30)[:20], rng.random(20)
    starts, ends = np.array([5, 0, 20, 3]), np.array([9, 20, 20, 4])  # overlapping, whole, empty, one
    weights = rng.integers(0, 4, (30, 6)).astype(float)
    found = sums_of_runs(order, starts, ends, 30, values if weighted else None) @ weights
    for row, (a, b) in enumerate(zip(starts, ends, strict=True)):
        factors = values[a:b, None] if weighted else 1.0
        assert found[row] == pytest.approx((factors * weights[order[a:b]]).sum(0), rel=1e-14)


def test_no_sample_adds_up_to_nothing() -> None:
    nothing = np.empty(0, int)
    assert (sums_of_runs(nothing, np.array([0]), np.array([0]), 0) @ np.empty((0, 3))).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("weights", "dtype"),
    [
        (np.full((1000, 2), 3.0), np.float32),
        (np.full((1000, 2), 0.1), np.float64),
        (np.full((2, 1), 2.0**23), np.float64),
        (np.full((2, 1), 2.0**23 - 1), np.float32),
        (np.empty((0, 2)), np.float32),
    ],
    ids=["counts", "no whole numbers", "sums of 2^24", "sums below", "nothing"],
)
def test_weights_are_narrowed_only_where_their_sums_stay_exact(weights, dtype) -> None:
    assert narrow(weights).dtype == dtype
    assert (narrow(weights) == weights).all()
