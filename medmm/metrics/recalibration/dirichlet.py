"""Dirichlet calibration: a linear map of the log-probabilities of all classes (Kull et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from medmm.errors import ModelError
from medmm.types import FloatArray, Kind

_DIAGONAL_SD, _OFF_DIAGONAL_SD, _BIAS_SD = 1.0, 0.3, 1.5


@dataclass(frozen=True, slots=True)
class Dirichlet:
    """`softmax(W ln p + b)`.

    Attributes:
        kind: Multiclass or binary.
        weight: (K, K), rows the class that comes out, columns the class that goes in.
        bias: (K,).
        n: Samples it was fitted on.
    """

    kind: Kind
    weight: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    n: int

    def __call__(self, logits: FloatArray) -> FloatArray:
        """(n, K) logits to (n, K) probabilities."""
        log_p = log_softmax(np.asarray(logits, dtype=np.float64), axis=1)
        return np.asarray(softmax(log_p @ np.asarray(self.weight).T + np.asarray(self.bias), axis=1))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"method": "dirichlet", "weight": [list(row) for row in self.weight], "bias": list(self.bias), "n": self.n}

    @classmethod
    def from_dict(cls, kind: Kind, content: dict[str, Any]) -> Dirichlet:
        """Rebuild from `to_dict`.

        Raises:
            ModelError: If the entry is not of this form or not finite.
        """
        try:
            weight = tuple(tuple(map(float, row)) for row in content["weight"])
            bias, known, n = tuple(map(float, content["bias"])), content["method"] == "dirichlet", int(content["n"])
        except (KeyError, TypeError, ValueError):
            known, weight, bias, n = False, (), (), 0
        square = len(weight) == len(bias) > 1 and all(len(row) == len(bias) for row in weight)
        if not known or not square or not np.isfinite([*bias, *(v for row in weight for v in row)]).all():
            msg = "Expected calibration entries with method dirichlet, a square weight and a bias, all finite."
            raise ModelError(msg)
        return cls(kind, weight, bias, n)


def fit_dirichlet(kind: Kind, target: FloatArray, logits: FloatArray) -> Dirichlet:
    """Fit with off-diagonal and intercept regularisation (ODIR).

    The penalties are normal priors on the total log-likelihood, centred on "leave as is": they fade as samples
    grow in number. The diagonal's is weak, the off-diagonal's, which lets classes trade places, is strong.

    Args:
        kind: Multiclass or binary.
        target: (n, K) one-hot.
        logits: (n, K).
    """
    classes, log_p = target.shape[1], log_softmax(np.asarray(logits, dtype=np.float64), axis=1)
    identity = np.eye(classes)
    precision = np.where(identity > 0, _DIAGONAL_SD**-2, _OFF_DIAGONAL_SD**-2)

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        weight, bias = parameters[: classes**2].reshape(classes, classes), parameters[classes**2 :]
        mapped = log_p @ weight.T + bias
        residual = softmax(mapped, axis=1) - target
        off = weight - identity
        value = -(target * log_softmax(mapped, axis=1)).sum()
        value += 0.5 * (precision * off**2).sum() + 0.5 * (bias**2).sum() / _BIAS_SD**2
        return value, np.r_[(residual.T @ log_p + precision * off).ravel(), residual.sum(0) + bias / _BIAS_SD**2]

    start = np.r_[identity.ravel(), np.zeros(classes)]
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-7, "maxiter": 2000}).x
    weight = best[: classes**2].reshape(classes, classes)
    return Dirichlet(kind, tuple(tuple(map(float, row)) for row in weight), tuple(map(float, best[classes**2 :])), len(target))
