"""What a recalibration method is, and what all of them need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import log_softmax

from medmm.types import FloatArray, Kind

_EPSILON = np.finfo(np.float64).eps


class Recalibrator(Protocol):
    """A fitted map from logits to probabilities that is plain data.

    Contract: called with (n, K) finite logits it gives (n, K) probabilities, whose rows sum to 1 unless
    multilabel; `from_dict(kind, to_dict())` of its method gives an equal one, and `to_dict()["method"]` is the
    name it is registered under.

    Attributes:
        kind: Kind of task.
        n: Samples it was fitted on.
    """

    @property
    def kind(self) -> Kind: ...  # noqa: D102
    @property
    def n(self) -> int: ...  # noqa: D102

    def __call__(self, logits: FloatArray) -> FloatArray: ...  # noqa: D102
    def to_dict(self) -> dict[str, Any]: ...  # noqa: D102


Fit = Callable[[Kind, FloatArray, FloatArray], Recalibrator]
"""(kind, target (n, K) with NaN where unknown, logits (n, K)) to a fitted map."""


@dataclass(frozen=True, slots=True)
class Method:
    """One entry of the registry.

    Attributes:
        fit: Fits on samples that neither the model nor what is scored has seen.
        load: (kind, content of `to_dict`) to the same map; `ModelError` if the content is unsound.
        kinds: Tasks it is defined for.
        monotone: Whether, binary or label by label, the order of samples never turns around.
    """

    fit: Fit
    load: Callable[[Kind, dict[str, Any]], Recalibrator]
    kinds: tuple[Kind, ...]
    monotone: bool


def logits_of(kind: Kind, probability: FloatArray) -> FloatArray:
    """(n, K) logits that stand for probabilities, for predictions that come without.

    Log-odds if multilabel, else log-probabilities, of which softmax gives the probabilities back. What is
    0 or 1 is moved by 2.2e-16.
    """
    p = np.clip(probability, _EPSILON, 1 - _EPSILON)
    return np.asarray(np.log(p) - np.log1p(-p) if kind == "multilabel" else np.log(p))


def log_odds(kind: Kind, logits: FloatArray) -> FloatArray:
    """(n, L) log-odds of each label against the rest: the positive class if binary, each if multiclass or multilabel."""
    z = np.asarray(logits, dtype=np.float64)
    if kind == "multilabel":
        return z
    if kind == "binary":
        return np.asarray(z[:, 1:] - z[:, :1])
    log_p = log_softmax(z, axis=1)
    return np.asarray(log_p - np.log(np.maximum(-np.expm1(log_p), _EPSILON)))


def known_rows(y: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Labels and scores of the samples whose label is known."""
    known = ~np.isnan(y)
    return y[known], z[known]


def two_classes(y: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n, 2) target and logits of one label and its absence."""
    return np.stack([1 - y, y], axis=1), np.stack([np.zeros_like(z), z], axis=1)
