"""Recalibration by slopes and biases: `softmax(slope * logits + bias)`, or each label's sigmoid.

One form, fitted in four ways, which differ in what is free and in what keeps few samples from deciding too much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from medmm.errors import ModelError
from medmm.metrics.recalibration.method import known_rows, two_classes
from medmm.types import FloatArray, Kind

_LOG_SLOPE_SD, _BIAS_SD = 0.5, 0.7
_LOG_SLOPE_BOUNDS, _BIAS_BOUNDS = (-6.0, 4.0), (-20.0, 20.0)


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A fitted map from logits to probabilities.

    Attributes:
        kind: Kind of task; multilabel maps each logit by its own slope and bias.
        slope: (1,), or (K,) if multilabel or vector scaling; positive.
        bias: (K,).
        n: Samples it was fitted on.
        method: How it was fitted.
    """

    kind: Kind
    slope: tuple[float, ...]
    bias: tuple[float, ...]
    n: int
    method: str = "map_scaling"

    def __call__(self, logits: FloatArray) -> FloatArray:
        """(n, K) logits to (n, K) probabilities."""
        mapped = np.asarray(logits, dtype=np.float64) * np.asarray(self.slope) + np.asarray(self.bias)
        probability: FloatArray = expit(mapped) if self.kind == "multilabel" else softmax(mapped, axis=1)
        return probability

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"method": self.method, "slope": list(self.slope), "bias": list(self.bias), "n": self.n}

    @classmethod
    def from_dict(cls, kind: Kind, content: dict[str, Any]) -> Calibrator:
        """Rebuild from `to_dict`.

        Raises:
            ModelError: If the entry is not of this form or not finite.
        """
        try:
            slope, bias = tuple(map(float, content["slope"])), tuple(map(float, content["bias"]))
            method, n = content["method"], int(content["n"])
        except (KeyError, TypeError, ValueError):
            method, slope, bias, n = None, (), (), 0
        if method not in _FITS or not np.isfinite([*slope, *bias]).all() or any(s <= 0 for s in slope):
            msg = f"Expected calibration entries with a method ({', '.join(_FITS)}), positive slopes and finite biases."
            raise ModelError(msg)
        return cls(kind, slope, bias, n, method)


def fit_calibrator(kind: Kind, target: FloatArray, logits: FloatArray) -> Calibrator:
    """One positive slope and one bias a class, by maximum a posteriori.

    The priors are weak and at "leave as is". What is found is shrunk towards that too, by the share of the gain in
    likelihood that free parameters bring by chance alone (van Houwelingen and le Cessie 1990; for recalibration
    Steyerberg et al. 2004), so that twenty samples cannot turn probabilities upside down, logits that are right
    are left alone, and two hundred samples decide.

    Args:
        kind: Kind of task.
        target: (n, K) one-hot, or 0, 1 and NaN if multilabel.
        logits: (n, K).
    """
    return _fit("map_scaling", kind, target, logits)


def fit_temperature(kind: Kind, target: FloatArray, logits: FloatArray) -> Calibrator:
    """One positive slope, the inverse temperature, by maximum likelihood (Guo et al. 2017); one a label if multilabel."""
    return _fit("temperature", kind, target, logits)


def fit_vector(kind: Kind, target: FloatArray, logits: FloatArray) -> Calibrator:
    """A positive slope and a bias for each class, by maximum likelihood (Guo et al. 2017)."""
    return _fit("vector", kind, target, logits)


def fit_platt(kind: Kind, target: FloatArray, logits: FloatArray) -> Calibrator:
    """One positive slope and one bias a label, by maximum likelihood of Platt's (1999) softened labels."""
    return _fit("platt", kind, target, logits)


def _fit(method: str, kind: Kind, target: FloatArray, logits: FloatArray) -> Calibrator:
    fit = _FITS[method]
    if kind == "multilabel":
        pairs = [_fit_label(fit, *known_rows(target[:, k], logits[:, k])) for k in range(target.shape[1])]
        return Calibrator(kind, tuple(s for s, _ in pairs), tuple(b for _, b in pairs), len(target), method)
    slope, bias = fit(target, logits)
    return Calibrator(kind, tuple(map(float, slope)), tuple(map(float, bias)), len(target), method)


_SoftmaxFit = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


def _fit_label(fit: _SoftmaxFit, y: FloatArray, z: FloatArray) -> tuple[float, float]:
    """One label as two classes, the other one with logit 0."""
    slope, bias = fit(*two_classes(y, z))
    return float(slope[-1]), float(bias[1] - bias[0])


def _fit_map(target: FloatArray, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
    slope, bias = _minimise(target, logits, slopes=1, biases=True, precision=(_LOG_SLOPE_SD**-2, _BIAS_SD**-2))
    gain = _cross_entropy(target, logits) - _cross_entropy(target, slope * logits + bias)
    free = target.shape[1]  # the slope, and a bias a class of which one is redundant
    kept = max(0.0, 1 - free / (2 * gain)) if gain > 0 else 0.0
    return slope**kept, kept * bias


def _cross_entropy(target: FloatArray, logits: FloatArray) -> float:
    """Sum over samples in nats."""
    return -float((target * log_softmax(logits, axis=1)).sum())


def _fit_temperature(target: FloatArray, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
    return _minimise(target, logits, slopes=1, biases=False)


def _fit_vector(target: FloatArray, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
    return _minimise(target, logits, slopes=target.shape[1], biases=True)


def _fit_platt(target: FloatArray, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
    counts = target.sum(0)
    positive, negative = (counts[1] + 1) / (counts[1] + 2), 1 / (counts[0] + 2)
    soft = np.where(target[:, 1] > 0, positive, negative)
    return _minimise(np.stack([1 - soft, soft], axis=1), logits, slopes=1, biases=True)


_FITS: dict[str, _SoftmaxFit] = {
    "map_scaling": _fit_map,
    "temperature": _fit_temperature,
    "vector": _fit_vector,
    "platt": _fit_platt,
}


def _minimise(
    target: FloatArray, logits: FloatArray, *, slopes: int, biases: bool, precision: tuple[float, float] = (0.0, 0.0)
) -> tuple[FloatArray, FloatArray]:
    """Slopes (1 or K) and biases (K) of least cross-entropy plus, by `precision`, squared log-slopes and biases."""
    classes = target.shape[1]
    to_slope, to_bias = precision

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        log_slope, bias = parameters[:slopes], parameters[slopes:] if biases else np.zeros(classes)
        mapped = np.exp(log_slope) * logits + bias
        residual = softmax(mapped, axis=1) - target
        value = _cross_entropy(target, mapped)
        value += 0.5 * to_slope * (log_slope**2).sum() + 0.5 * to_bias * (bias**2).sum()
        pull = (residual * logits).sum(0)
        slope_gradient = np.exp(log_slope) * (pull if slopes > 1 else pull.sum()) + to_slope * log_slope
        return value, np.r_[slope_gradient, (residual.sum(0) + to_bias * bias) if biases else []]

    free = slopes + (classes if biases else 0)
    bounds = [_LOG_SLOPE_BOUNDS] * slopes + [_BIAS_BOUNDS] * (free - slopes)
    best = minimize(loss, np.zeros(free), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "gtol": 1e-7})
    return np.exp(best.x[:slopes]), best.x[slopes:] if biases else np.zeros(classes)
