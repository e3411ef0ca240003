"""Retrieval: is a query's own item among the k most similar ones?"""

from __future__ import annotations

import numpy as np

from medmm.errors import NonFiniteError, PredictionsError
from medmm.types import FloatArray, IntArray


def hits_at_k(similarity: FloatArray, match: IntArray, k: int) -> FloatArray:
    """(Q,) chance that each query's match is among its k most similar items, equal ones in random order.

    Without ties 0 or 1, so that a constant similarity is worth k / N and not, as by a sort, 0 or 1.

    Args:
        similarity: (Q, N) of each query to each item, higher for more alike.
        match: (Q,) index of the item that belongs to each query.
        k: How many are retrieved.

    Raises:
        PredictionsError: If shapes, indices or k do not fit.
        NonFiniteError: If a similarity is NaN or infinite.
    """
    queries, items = similarity.shape
    if match.shape != (queries,) or not 1 <= k <= items or (queries and not (match.min() >= 0 and match.max() < items)):
        msg = f"Expected one item's index for each of {queries} queries and a k from 1 to {items}; got something else."
        raise PredictionsError(msg)
    if not np.isfinite(similarity).all():
        msg = "Expected finite similarities; got NaN or infinity. Leave those queries and items out."
        raise NonFiniteError(msg)
    own = similarity[np.arange(queries), match][:, None]
    above, tied = (similarity > own).sum(1), (similarity == own).sum(1)
    return np.asarray(np.clip((k - above) / tied, 0.0, 1.0))


def recall_at_k(similarity: FloatArray, match: IntArray, k: int) -> float:
    """Mean of `hits_at_k` over queries; NaN without one."""
    hits = hits_at_k(similarity, match, k)
    return float(hits.mean()) if len(hits) else float("nan")
