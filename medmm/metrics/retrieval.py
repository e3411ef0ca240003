"""How often the right one is among the k most similar: recall@k, with ties counted fairly."""

from __future__ import annotations

import numpy as np

from medmm.types import FloatArray


def hits(similarity: FloatArray, k: int) -> FloatArray:
    """Probability that each query finds its own among its first k, equal similarities being put in random order.

    So vectors that are all alike score exactly what chance does, k / n.

    Args:
        similarity: (n, n), queries in rows; the diagonal holds those that belong together.
        k: How many are looked at.

    Returns:
        (n,) between 0 and 1.
    """
    own = np.diag(similarity)[:, None]
    above, equal = (similarity > own).sum(1), (similarity == own).sum(1)  # itself among the equal
    found: FloatArray = np.clip((k - above) / equal, 0.0, 1.0)
    return found


def ranks(similarity: FloatArray) -> FloatArray:
    """(n,) place of each query's own among all, from 1; the middle place among equals."""
    own = np.diag(similarity)[:, None]
    place: FloatArray = (similarity > own).sum(1) + ((similarity == own).sum(1) + 1) / 2
    return place
