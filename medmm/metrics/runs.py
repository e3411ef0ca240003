"""Weighted sums over runs of samples, as sparse operators that are made once and applied to every block of weights."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from medmm.types import FloatArray, IntArray

_SINGLE_LIMIT = 2.0**24


def sums_of_runs(order: IntArray, starts: IntArray, ends: IntArray, samples: int, values: FloatArray | None = None) -> csr_array:
    """Operator whose row i adds up the weights of `order[starts[i]:ends[i]]`.

    Args:
        order: (m,) indices of samples.
        starts: (S,) places in it.
        ends: (S,) places in it.
        samples: n, how many weights there are.
        values: (m,) factors in the order of `order`; ones, in single precision, when None.
    """
    lengths = ends - starts
    bounds = np.r_[0, np.cumsum(lengths)]
    places = np.repeat(starts - bounds[:-1], lengths) + np.arange(bounds[-1])
    factors = np.ones(len(places), dtype=np.float32) if values is None else values[places]
    operator = csr_array((factors, order[places].astype(np.int32), bounds.astype(np.int32)), shape=(len(starts), samples))
    operator.sort_indices()  # weights are then read in the order they lie in memory
    return operator


def narrow(weights: FloatArray) -> FloatArray:
    """In single precision, which is twice as fast, where every sum of these weights is exact in it; else as they are."""
    exact = weights.max(initial=0) * len(weights) < _SINGLE_LIMIT and (weights == np.rint(weights)).all()
    return weights.astype(np.float32) if exact else weights
