"""Smooth calibration errors, against their definitions by brute force, and R."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from medmm.metrics import point
from medmm.types import FloatArray

LOWESS = tuple(f"{stem}[lowess,2/3,0]" for stem in ("ici", "e50", "e90", "emax"))


def smece_by_force(y: FloatArray, p: FloatArray) -> float:
    """Fixed point of the integral, with the reflections of the kernel written out."""
    t = (np.arange(3000) + 0.5) / 3000

    def excess(bandwidth: float) -> float:
        images = [sign * p + 2 * shift for sign in (1, -1) for shift in (-1, 0, 1)]
        kernel = sum(np.exp(-0.5 * ((t[:, None] - image) / bandwidth) ** 2) for image in images)
        smoothed = kernel @ (y - p) / (bandwidth * np.sqrt(2 * np.pi) * len(p))
        return float(np.abs(smoothed).mean() - bandwidth)

    return float(brentq(excess, 2e-3, 1, xtol=1e-9))


@pytest.mark.parametrize("kind", ["smooth", "ties", "certain", "constant"])
def test_smooth_ece_equals_its_definition_by_brute_force(make, generated, kind) -> None:
    y, p = generated(4, kind)
    assert point("smece", make("binary", y, p)) == pytest.approx(smece_by_force(y, p), abs=1e-5)


@pytest.mark.parametrize("name", ["p1", "p2", "p3"])
def test_smooth_ece_of_more_samples_equals_brute_force(reference, refs, name) -> None:
    y, p = (np.array(refs["data_synthetic"][k], dtype=float) for k in ("y", name))
    assert point("smece", reference(name)) == pytest.approx(smece_by_force(y, p), abs=1e-5)


def test_smooth_ece_is_0_without_error_and_near_1_when_all_is_wrong(make) -> None:
    assert point("smece", make("binary", [0, 1, 1], [0.0, 1.0, 1.0])) == 0
    assert point("smece", make("binary", [1, 1, 1], [0.0, 0.0, 0.0])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", ["p1", "p2"])
def test_lowess_errors_equal_r(reference, refs, name) -> None:
    expected = refs["results"]["ici"][name]["lowess_iter0"]
    found = [point(n, reference(name)) for n in LOWESS]
    tolerance = refs["suggested_tolerance"]["lowess_ici"]
    assert found == pytest.approx([expected[k] for k in ("ICI", "E50", "E90", "Emax")], rel=0, abs=tolerance)


def test_lowess_of_one_probability_is_the_frequency(make) -> None:
    scores = make("binary", [1, 0, 0, 0], [0.4] * 4)
    assert [point(n, scores) for n in LOWESS] == pytest.approx([0.15] * 4)


def test_lowess_needs_three_samples(make) -> None:
    scores = make("binary", [1, 0, 1], [0.4, 0.5, 0.6])
    assert np.isnan(point(LOWESS[0], scores, np.array([1, 1, 0])))
    assert np.isfinite(point(LOWESS[0], scores))
