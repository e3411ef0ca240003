"""Beta, isotonic and Venn-Abers, against scikit-learn, their definitions and MAPIE."""

from __future__ import annotations

import numpy as np
import pytest
from mapie._venn_abers import VennAbers
from scipy.optimize import isotonic_regression
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from medmm.errors import ModelError
from medmm.metrics.recalibration import fit
from medmm.metrics.recalibration.one_vs_rest import OneVsRest
from medmm.types import FloatArray


def labelled(n: int, seed: int, ties: bool = False) -> tuple[FloatArray, FloatArray]:
    """Labels and logits that are too confident."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n).round(1) if ties else rng.normal(size=n)
    return (rng.random(n) < expit(z)).astype(float), 2.5 * z


def positive(method: str, y: FloatArray, z: FloatArray, new: FloatArray) -> FloatArray:
    return fit(method, "multilabel", y[:, None], z[:, None])(new[:, None])[:, 0]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_isotonic_equals_scikit_learn_within_what_n_samples_can_show(seed, ties) -> None:
    y, z = labelled(80, seed, ties)
    new = np.linspace(-8, 8, 200)
    expected = IsotonicRegression(out_of_bounds="clip").fit(z, y).predict(new)
    found = positive("isotonic", y, z, new)
    inside = (expected > 1 / 82) & (expected < 81 / 82)
    assert found[inside] == pytest.approx(expected[inside], abs=0.02)  # lines start at other corners where one is limited
    at_samples = np.clip(IsotonicRegression().fit(z, y).predict(z), 1 / 82, 81 / 82)
    assert positive("isotonic", y, z, z) == pytest.approx(at_samples, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_beta_is_the_regression_on_both_logarithms(seed) -> None:
    y, z = labelled(3000, seed)
    p = expit(z)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=2000).fit(np.c_[np.log(p), -np.log1p(-p)], y)
    assert (model.coef_ > 0).all()  # else the constraint would matter
    new = np.linspace(-5, 5, 21)
    q = expit(new)
    expected = model.predict_proba(np.c_[np.log(q), -np.log1p(-q)])[:, 1]
    assert positive("beta", y, z, new) == pytest.approx(expected, abs=1e-4)


def test_beta_never_falls_whatever_the_labels_say() -> None:
    y, z = labelled(200, 0)
    assert (np.diff(positive("beta", 1 - y, z, np.linspace(-6, 6, 50))) >= 0).all()


def venn_abers_by_force(y: FloatArray, z: FloatArray, new: float) -> float:
    """Refit with the new sample called 0 and called 1."""
    fits = []
    for label in (0.0, 1.0):
        x, t = np.append(z, new), np.append(y, label)
        values, group = np.unique(x, return_inverse=True)
        weight = np.bincount(group).astype(float)
        fitted = isotonic_regression(np.bincount(group, weights=t) / weight, weights=weight).x
        fits.append(fitted[np.searchsorted(values, new)])
    return fits[1] / (1 - fits[0] + fits[1])


@pytest.mark.parametrize("ties", [False, True])
def test_venn_abers_equals_refitting_for_every_new_sample(ties) -> None:
    y, z = labelled(60, 1, ties)
    new = np.r_[z[:10], np.linspace(-8, 8, 40)]
    expected = [venn_abers_by_force(y, z, v) for v in new]
    assert positive("venn_abers", y, z, new) == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value):RuntimeWarning")  # theirs
def test_venn_abers_equals_mapie() -> None:
    y, z = labelled(150, 2)
    p, new = expit(z), np.linspace(0.01, 0.99, 60)
    theirs = VennAbers()
    theirs.fit(np.c_[1 - p, p], y)
    expected = theirs.predict_proba(np.c_[1 - new, new])[0][:, 1]
    assert positive("venn_abers", y, z, np.log(new) - np.log1p(-new)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("method", ["beta", "isotonic", "venn_abers"])
def test_several_classes_are_mapped_one_by_one_and_sum_to_1(method) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 3))
    target = np.eye(3)[(np.exp(z) / np.exp(z).sum(1, keepdims=True)).cumsum(1).__lt__(rng.random((300, 1))).sum(1)]
    p = fit(method, "multiclass", target, 3 * z)(3 * z)
    assert p.sum(1) == pytest.approx(np.ones(300))
    assert p.mean(0) == pytest.approx(target.mean(0), abs=0.02)


@pytest.mark.parametrize("method", ["beta", "isotonic", "venn_abers"])
def test_a_label_with_one_value_or_none_known_is_left_as_it_is(method) -> None:
    z = np.array([[-1.0, 0.5], [2.0, -3.0], [0.1, 0.2]])
    target = np.array([[1, np.nan], [1, np.nan], [1, np.nan]])
    assert fit(method, "multilabel", target, z)(z) == pytest.approx(expit(z))


@pytest.mark.parametrize("method", ["isotonic", "venn_abers"])
def test_a_perfect_separation_does_not_give_certainty(method) -> None:
    y, z = np.repeat([0.0, 1.0], 10), np.r_[np.linspace(-3, -1, 10), np.linspace(1, 3, 10)]
    p = positive(method, y, z, z)
    assert p.min() > 0.01
    assert p.max() < 0.99


@pytest.mark.parametrize(
    "content",
    [
        {"method": "beta", "maps": [{"abc": [1.0, -1.0, 0.0]}], "n": 3},
        {"method": "beta", "maps": [{"abc": [1.0, 1.0]}], "n": 3},
        {"method": "isotonic", "maps": [{"x": [0.0, 1.0], "p": [0.6, 0.4]}], "n": 3},
        {"method": "isotonic", "maps": [{"x": [1.0, 0.0], "p": [0.4, 0.6]}], "n": 3},
        {"method": "isotonic", "maps": [{"x": [0.0, 1.0], "p": [0.4, 1.6]}], "n": 3},
        {"method": "isotonic", "maps": [{"x": [], "p": []}], "n": 3},
        {"method": "isotonic", "maps": [{"x": [0.0]}], "n": 3},
        {"method": "venn_abers", "maps": [{"x": [0.0], "p0": [0.1], "p1": [0.2]}], "n": 3},
        {"method": "isotonic", "maps": ["x"], "n": 3},
        {"method": "isotonic", "maps": [{"x": [float("nan")], "p": [0.5]}], "n": 3},
        {"method": "other", "maps": [], "n": 3},
    ],
)
def test_unsound_maps_are_refused(content) -> None:
    with pytest.raises(ModelError, match="Expected calibration entries"):
        OneVsRest.from_dict("binary", content)
