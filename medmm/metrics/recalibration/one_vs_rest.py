"""Recalibration of one label at a time: beta, isotonic and Venn-Abers.

Each maps a label's log-odds to its probability. Several classes are mapped one against the rest and then made
to sum to 1, the convention of scikit-learn's `CalibratedClassifierCV`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, log_expit

from medmm.errors import ModelError
from medmm.metrics.recalibration.method import known_rows, log_odds
from medmm.types import FloatArray, Kind

Numbers = dict[str, list[float]]
"""What one label's map consists of, by name."""

_BETA_BOUNDS = [(0.0, 64.0), (0.0, 64.0), (-64.0, 64.0)]


@dataclass(frozen=True, slots=True)
class OneVsRest:
    """One map a label.

    Attributes:
        method: `beta`, `isotonic` or `venn_abers`.
        kind: Kind of task; a binary one has a single map, that of the positive class.
        maps: Numbers of each label's map; none for a label that had not both values, which is left as it is.
        n: Samples it was fitted on.
    """

    method: str
    kind: Kind
    maps: tuple[Numbers, ...]
    n: int

    def __call__(self, logits: FloatArray) -> FloatArray:
        """(n, K) logits to (n, K) probabilities."""
        z = log_odds(self.kind, logits)
        apply = _CURVES[self.method].apply
        columns = [apply(numbers, z[:, k]) if numbers else expit(z[:, k]) for k, numbers in enumerate(self.maps)]
        p = np.stack(columns, axis=1)
        if self.kind == "binary":
            return np.concatenate([1 - p, p], axis=1)
        if self.kind == "multilabel":
            return p
        total = p.sum(1, keepdims=True)
        return np.where(total > 0, p / np.where(total > 0, total, 1.0), 1 / p.shape[1])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"method": self.method, "maps": list(self.maps), "n": self.n}

    @classmethod
    def from_dict(cls, kind: Kind, content: dict[str, Any]) -> OneVsRest:
        """Rebuild from `to_dict`.

        Raises:
            ModelError: If the entry is not of this form, not finite, or not in order.
        """
        try:
            method, n = str(content["method"]), int(content["n"])
            maps = tuple({str(k): [float(v) for v in values] for k, values in m.items()} for m in content["maps"])
            sound = method in _CURVES and len(maps) > 0 and all(_CURVES[method].sound(m) for m in maps if m)
        except (AttributeError, KeyError, TypeError, ValueError):
            sound = False
        if not sound:
            msg = f"Expected calibration entries of {', '.join(_CURVES)} with finite numbers in order; got others."
            raise ModelError(msg)
        return cls(method, kind, maps, n)


def fit_beta(kind: Kind, target: FloatArray, logits: FloatArray) -> OneVsRest:
    """Log-odds a ln p - b ln(1 - p) + c with a and b not negative, by maximum likelihood (Kull et al. 2017)."""
    return _fit("beta", kind, target, logits)


def fit_isotonic(kind: Kind, target: FloatArray, logits: FloatArray) -> OneVsRest:
    """The rising curve of least squares (Zadrozny and Elkan 2002), straight between samples.

    It stays 1 / (n + 2) away from 0 and 1 (Laplace's rule of succession): n samples cannot show more certainty,
    and one certain error costs an infinite log-loss.
    """
    return _fit("isotonic", kind, target, logits)


def fit_venn_abers(kind: Kind, target: FloatArray, logits: FloatArray) -> OneVsRest:
    """Inductive Venn-Abers (Vovk et al. 2015): isotonic fits with the new sample called 0 and called 1, merged.

    One of the two fits is calibrated in expectation at any n; the merged p1 / (1 - p0 + p1) minimises the worst regret.
    Fitting takes a time that rises with the square of n, about a second for 5000 samples.
    """
    return _fit("venn_abers", kind, target, logits)


def _fit(method: str, kind: Kind, target: FloatArray, logits: FloatArray) -> OneVsRest:
    z, y = log_odds(kind, logits), target[:, 1:] if kind == "binary" else target
    fitted: list[Numbers] = []
    for k in range(z.shape[1]):
        labels, scores = known_rows(y[:, k], z[:, k])
        both = len(np.unique(labels)) == 2
        fitted.append(_CURVES[method].fit(labels, scores) if both else {})
    return OneVsRest(method, kind, tuple(fitted), len(target))


@dataclass(frozen=True, slots=True)
class _Curve:
    fit: Callable[[FloatArray, FloatArray], Numbers]
    apply: Callable[[Numbers, FloatArray], FloatArray]
    sound: Callable[[Numbers], bool]


def _fit_beta(y: FloatArray, z: FloatArray) -> Numbers:
    design = np.stack([log_expit(z), -log_expit(-z), np.ones_like(z)])

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        eta = parameters @ design
        return -(y * log_expit(eta) + (1 - y) * log_expit(-eta)).sum(), design @ (expit(eta) - y)

    options = {"ftol": 1e-13, "gtol": 1e-8, "maxiter": 1000}
    best = minimize(loss, [1.0, 1.0, 0.0], jac=True, method="L-BFGS-B", bounds=_BETA_BOUNDS, options=options)
    return {"abc": [float(v) for v in best.x]}


def _apply_beta(numbers: Numbers, z: FloatArray) -> FloatArray:
    a, b, c = numbers["abc"]
    return np.asarray(expit(a * log_expit(z) - b * log_expit(-z) + c))


def _sound_beta(numbers: Numbers) -> bool:
    abc = numbers["abc"]
    return len(abc) == 3 and bool(np.isfinite(abc).all()) and min(abc[:2]) >= 0


def _fit_isotonic(y: FloatArray, z: FloatArray) -> Numbers:
    x, mean, weight = _by_value(y, z)
    fitted = isotonic_regression(mean, weights=weight).x
    margin = 1 / (len(y) + 2)
    corner = (
        np.r_[True, (fitted[1:-1] != fitted[:-2]) | (fitted[1:-1] != fitted[2:]), True] if len(x) > 2 else np.ones(len(x), bool)
    )
    return {"x": x[corner].tolist(), "p": np.clip(fitted, margin, 1 - margin)[corner].tolist()}


def _apply_isotonic(numbers: Numbers, z: FloatArray) -> FloatArray:
    return np.asarray(np.interp(z, numbers["x"], numbers["p"]))


def _sound_isotonic(numbers: Numbers) -> bool:
    return len(numbers["x"]) == len(numbers["p"]) > 0 and _rising(numbers["x"], strictly=True) and _probabilities(numbers["p"])


def _fit_venn_abers(y: FloatArray, z: FloatArray) -> Numbers:
    x, mean, weight = _by_value(y, z)
    places = range(len(x) + 1)
    with_zero = [_fitted_with(mean, weight, place, 0.0) for place in places]
    with_one = [_fitted_with(mean, weight, place, 1.0) for place in places]
    return {"x": x.tolist(), "p0": with_zero, "p1": with_one}


def _fitted_with(mean: FloatArray, weight: FloatArray, place: int, label: float) -> float:
    """Isotonic fit at a new sample of this label that stands before the value at `place`."""
    fitted = isotonic_regression(np.insert(mean, place, label), weights=np.insert(weight, place, 1.0)).x
    return float(fitted[place])


def _apply_venn_abers(numbers: Numbers, z: FloatArray) -> FloatArray:
    # A new sample called 0 pulls its equals down and so stands after them; called 1, before them.
    p0 = np.asarray(numbers["p0"])[np.searchsorted(numbers["x"], z, side="right")]
    p1 = np.asarray(numbers["p1"])[np.searchsorted(numbers["x"], z, side="left")]
    return np.asarray(p1 / (1 - p0 + p1))


def _sound_venn_abers(numbers: Numbers) -> bool:
    p0, p1, x = numbers["p0"], numbers["p1"], numbers["x"]
    return len(p0) == len(p1) == len(x) + 1 and _rising(x, strictly=True) and _probabilities(p0) and _probabilities(p1)


def _by_value(y: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distinct scores, rising, with the mean label and the number of samples of each."""
    x, group = np.unique(z, return_inverse=True)
    weight = np.bincount(group).astype(np.float64)
    return x, np.bincount(group, weights=y) / weight, weight


def _rising(values: list[float], *, strictly: bool = False) -> bool:
    steps = np.diff(values)
    return bool(np.isfinite(values).all() and (steps > 0 if strictly else steps >= -1e-12).all())


def _probabilities(values: list[float]) -> bool:
    return _rising(values) and min(values) >= 0 and max(values) <= 1


_CURVES = {
    "beta": _Curve(_fit_beta, _apply_beta, _sound_beta),
    "isotonic": _Curve(_fit_isotonic, _apply_isotonic, _sound_isotonic),
    "venn_abers": _Curve(_fit_venn_abers, _apply_venn_abers, _sound_venn_abers),
}
