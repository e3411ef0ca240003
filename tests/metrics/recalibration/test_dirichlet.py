"""Dirichlet calibration, against a fit without gradients and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from medmm.errors import ModelError
from medmm.metrics.recalibration import fit
from medmm.metrics.recalibration.dirichlet import Dirichlet


def confused(n: int, seed: int):
    """Three classes; the model can hardly tell the last two apart, though its logits know."""
    rng = np.random.default_rng(seed)
    z = 1.5 * rng.normal(size=(n, 3))
    target = np.eye(3)[(softmax(z, axis=1).cumsum(1) < rng.random((n, 1))).sum(1)]
    return target, z @ np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.4], [0.0, 0.4, 0.6]])


def loss_of(target, p) -> float:
    return float(-np.log(p[target == 1]).mean())


def test_it_mends_what_scaling_cannot() -> None:
    fitted = {m: fit(m, "multiclass", *confused(2000, 0)) for m in ("dirichlet", "vector", "temperature")}
    target, logits = confused(5000, 1)
    found = {m: loss_of(target, f(logits)) for m, f in fitted.items()}
    assert found["dirichlet"] < found["vector"] - 0.02 < found["temperature"] - 0.02


def test_the_fit_is_the_most_probable_under_its_priors() -> None:
    """Diagonal with standard deviation 1 about 1, off the diagonal 0.3 about 0, biases 1.5."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(25, 2))
    target = np.eye(2)[rng.integers(0, 2, 25)]
    log_p = log_softmax(logits, axis=1)

    def loss(v) -> float:
        p = softmax(log_p @ v[:4].reshape(2, 2).T + v[4:], axis=1)
        off = v[:4] - [1, 0, 0, 1]
        return -np.log(p[target == 1]).sum() + (off**2 / [1, 0.09, 0.09, 1]).sum() / 2 + (v[4:] ** 2).sum() / (2 * 1.5**2)

    best = minimize(loss, [1, 0, 0, 1, 0, 0], method="Nelder-Mead", options={"maxiter": 20_000, "xatol": 1e-8, "fatol": 1e-10}).x
    fitted = fit("dirichlet", "binary", target, logits)
    assert np.r_[np.ravel(fitted.weight), fitted.bias] == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize(
    "change", [{"method": "x"}, {"weight": [[1.0]]}, {"weight": [[1.0, 0.0]]}, {"bias": [0.0, float("inf")]}, {"n": "many"}]
)
def test_unsound_entries_are_refused(change) -> None:
    content = {"method": "dirichlet", "weight": [[1.0, 0.0], [0.0, 1.0]], "bias": [0.0, 0.0], "n": 5}
    assert Dirichlet.from_dict("binary", content).n == 5
    with pytest.raises(ModelError):
        Dirichlet.from_dict("binary", content | change)
