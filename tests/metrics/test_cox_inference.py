"""Errors, intervals and test of the calibration regression, against statsmodels, R and the definition of the profile."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, logit
from scipy.stats import chi2, norm

from medmm.metrics.column import column
from medmm.metrics.cox import log_likelihood
from medmm.metrics.cox_inference import cox_inference
from medmm.types import FloatArray

NAMES = pytest.mark.parametrize("name", ["p1", "p2", "p3"])


def glm(design: FloatArray, y: FloatArray, offset: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients and errors as R's glm gives them: it stops early, and its errors are those of the step before."""
    eta, before = logit((y + 0.5) / 2), np.inf
    for _ in range(25):
        p = expit(eta)
        w = p * (1 - p)
        information = (design * w[:, None]).T @ design
        beta = np.linalg.solve(information, design.T @ (w * (eta - offset) + y - p))
        eta = design @ beta + offset
        deviance = -2 * float((y * log_expit(eta) + (1 - y) * log_expit(-eta)).sum())
        if abs(deviance - before) / (abs(deviance) + 0.1) < 1e-8:
            break
        before = deviance
    return beta, np.sqrt(np.diag(np.linalg.inv(information)))


@NAMES
def test_estimates_errors_and_wald_intervals_equal_statsmodels(reference, name) -> None:
    label, found = column(reference(name), 1), cox_inference(reference(name), 1)
    both = sm.GLM(label.y, sm.add_constant(label.log_odds), family=sm.families.Binomial()).fit(tol=1e-14)
    alone = sm.GLM(label.y, np.ones(400), family=sm.families.Binomial(), offset=label.log_odds).fit(tol=1e-14)
    (intercept, its_error), large = found.intercept, found.in_the_large
    assert [intercept, found.slope.estimate, large.estimate] == pytest.approx([*both.params, alone.params[0]], rel=0, abs=1e-9)
    errors = [its_error, found.slope.error, large.error]  # theirs are those of the last step but one, which depends on the machine
    assert errors == pytest.approx([*both.bse, alone.bse[0]], rel=0, abs=1e-8)
    assert found.slope.wald == pytest.approx(both.conf_int()[1], abs=1e-8)
    assert found.in_the_large.wald == pytest.approx(alone.conf_int()[0], abs=1e-8)


@NAMES
def test_errors_and_wald_intervals_equal_r_once_its_early_stop_is_followed(reference, refs, name) -> None:
    """Stopped where glm stops they are R's to 1e-9; where the fit has converged, as ours, they are 2e-5 away at most."""
    label, theirs, found = column(reference(name), 1), refs["results"]["cox"][name], cox_inference(reference(name), 1)
    tolerance, z = refs["suggested_tolerance"]["cox_se"], norm.ppf(0.975)
    fits = {
        "slope": (*(v[1] for v in glm(np.stack([np.ones(400), label.log_odds], 1), label.y, np.zeros(400))), found.slope),
        "citl": (*(v[0] for v in glm(np.ones((400, 1)), label.y, label.log_odds)), found.in_the_large),
    }
    for stem, (estimate, error, ours) in fits.items():
        assert [estimate, error] == pytest.approx([theirs[stem], theirs[f"{stem}_se"]], rel=0, abs=tolerance)
        wald = theirs[f"{stem}_wald_ci"]
        assert [estimate - z * error, estimate + z * error] == pytest.approx(wald, rel=0, abs=2 * tolerance)
        assert [ours.error, *ours.wald] == pytest.approx([theirs[f"{stem}_se"], *wald], rel=0, abs=5e-5)
    intercept = glm(np.stack([np.ones(400), label.log_odds], 1), label.y, np.zeros(400))[1][0]
    assert intercept == pytest.approx(theirs["intercept_se"], rel=0, abs=tolerance)
    assert found.intercept == pytest.approx([theirs["intercept"], theirs["intercept_se"]], rel=0, abs=2e-5)


@NAMES
def test_profile_intervals_are_where_the_likelihood_ratio_rejects_and_near_r(reference, refs, name) -> None:
    """R reads the bound off a spline through some ten points of the profile, 5e-6 from where it is."""
    label, theirs, found = column(reference(name), 1), refs["results"]["cox"][name], cox_inference(reference(name), 1)
    family = sm.families.Binomial()
    best = sm.GLM(label.y, sm.add_constant(label.log_odds), family=family).fit(tol=1e-14).deviance
    for slope in found.slope.profile:
        held = sm.GLM(label.y, np.ones(400), family=family, offset=slope * label.log_odds).fit(tol=1e-14).deviance
        assert held - best == pytest.approx(chi2.ppf(0.95, 1), abs=1e-7)
    assert found.slope.profile == pytest.approx(theirs["slope_profile_ci"], rel=0, abs=1e-5)
    assert found.in_the_large.profile == pytest.approx(theirs["citl_profile_ci"], rel=0, abs=1e-5)


@NAMES
def test_the_likelihood_ratio_test_equals_r(reference, refs, name) -> None:
    theirs, found = refs["results"]["cox"][name], cox_inference(reference(name), 1)
    expected = [theirs["LR_unreliability_chi2_2df"], theirs["LR_p"]]
    assert [found.ratio, found.p_value] == pytest.approx(expected, rel=1e-9)


def test_without_a_fit_there_is_no_inference(make) -> None:
    assert cox_inference(make("binary", [0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9]), 1) is None


def test_bounds_are_found_where_few_samples_stretch_the_profile(make) -> None:
    scores = make("binary", [0, 1, 0, 1, 1], [0.2, 0.3, 0.4, 0.6, 0.9])
    label, found = column(scores, 1), cox_inference(scores, 1)

    def deviance(slope: float) -> float:
        lowest = minimize_scalar(lambda a: -2 * log_likelihood(label, a, slope), bounds=(-60, 60), options={"xatol": 1e-10})
        return float(lowest.fun)

    for slope in found.slope.profile:
        assert deviance(slope) - deviance(found.slope.estimate) == pytest.approx(chi2.ppf(0.95, 1), abs=1e-6)
