"""From logits to probabilities that mean what they say.

`softmax(slope * logits + bias)` with one positive slope and one bias a class: temperature scaling
(Guo et al. 2017) and, for two classes, Platt scaling. Fitted by maximum a posteriori with weak
priors at "leave as is", so that twenty samples cannot turn it upside down and two hundred decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from medmm.errors import ModelError
from medmm.types import FloatArray, Kind

_LOG_SLOPE_SD, _BIAS_SD = 1.0, 1.5


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A fitted map from logits to probabilities.

    Attributes:
        kind: Kind of task; multilabel maps each logit by its own slope and bias.
        slope: (1,) or, if multilabel, (K,).
        bias: (K,).
        n: Samples it was fitted on.
    """

    kind: Kind
    slope: tuple[float, ...]
    bias: tuple[float, ...]
    n: int

    def __call__(self, logits: FloatArray) -> FloatArray:
        """(n, K) logits to (n, K) probabilities."""
        mapped = np.asarray(logits, dtype=np.float64) * np.asarray(self.slope) + np.asarray(self.bias)
        probability: FloatArray = expit(mapped) if self.kind == "multilabel" else softmax(mapped, axis=1)
        return probability

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"method": "map_scaling", "slope": list(self.slope), "bias": list(self.bias), "n": self.n}

    @classmethod
    def from_dict(cls, kind: Kind, content: dict[str, Any]) -> Calibrator:
        """Rebuild from `to_dict`.

        Raises:
            ModelError: If the entry is not of this form or not finite.
        """
        try:
            slope, bias = tuple(map(float, content["slope"])), tuple(map(float, content["bias"]))
            known, n = content["method"] == "map_scaling", int(content["n"])
        except (KeyError, TypeError, ValueError):
            known, slope, bias, n = False, (), (), 0
        if not known or not np.isfinite([*slope, *bias]).all() or any(s <= 0 for s in slope):
            msg = "Expected calibration entries with method map_scaling, positive slopes and finite biases."
            raise ModelError(msg)
        return cls(kind, slope, bias, n)


def fit_calibrator(kind: Kind, target: FloatArray, logits: FloatArray) -> Calibrator:
    """Fit on held-out samples.

    Args:
        kind: Kind of task.
        target: (n, K) one-hot, or 0, 1 and NaN if multilabel.
        logits: (n, K).
    """
    if kind == "multilabel":
        pairs = [_fit_label(target[:, k], logits[:, k]) for k in range(target.shape[1])]
        return Calibrator(kind, tuple(s for s, _ in pairs), tuple(b for _, b in pairs), len(target))
    slope, bias = _fit_softmax(target, logits)
    return Calibrator(kind, (slope,), tuple(float(b) for b in bias), len(target))


def _fit_label(target: FloatArray, logits: FloatArray) -> tuple[float, float]:
    known = ~np.isnan(target)
    y, z = target[known], logits[known]
    slope, bias = _fit_softmax(np.stack([1 - y, y], axis=1), np.stack([np.zeros_like(z), z], axis=1))
    return slope, float(bias[1] - bias[0])


def _fit_softmax(target: FloatArray, logits: FloatArray) -> tuple[float, FloatArray]:
    classes = target.shape[1]

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        log_slope, bias = parameters[0], parameters[1:]
        mapped = np.exp(log_slope) * logits + bias
        residual = softmax(mapped, axis=1) - target
        value = -(target * log_softmax(mapped, axis=1)).sum()
        value += 0.5 * (log_slope / _LOG_SLOPE_SD) ** 2 + 0.5 * ((bias / _BIAS_SD) ** 2).sum()
        to_slope = np.exp(log_slope) * (residual * logits).sum() + log_slope / _LOG_SLOPE_SD**2
        return value, np.r_[to_slope, residual.sum(0) + bias / _BIAS_SD**2]

    best = minimize(loss, np.zeros(1 + classes), jac=True, method="L-BFGS-B", bounds=[(-6.0, 4.0), *[(-20.0, 20.0)] * classes])
    return float(np.exp(best.x[0])), np.asarray(best.x[1:])
