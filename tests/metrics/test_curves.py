"""Distances of calibration curves from the diagonal, smoother by smoother, against R."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.metrics import point
from medmm.metrics.curves import SMOOTHERS, ici

IN_R = {
    "lowess[2/3,0]": "lowess_iter0",
    "loess[2,0.75]": "loess_direct",
    "loess[2,0.75,interpolated]": "loess_default",
    "rcs[3]": "rcs3",
}


@pytest.mark.parametrize("smoother", IN_R)
@pytest.mark.parametrize("name", ["p1", "p2"])
def test_distances_equal_r(reference, refs, name, smoother) -> None:
    theirs, tolerance = refs["results"]["ici"][name][IN_R[smoother]], refs["suggested_tolerance"]["lowess_ici"]
    expected = [theirs[k] for k in ("ICI", "E50", "E90", "Emax")]
    assert list(ici(reference(name), 1, smoother)) == pytest.approx(expected, rel=0, abs=tolerance)


def test_the_mean_distance_of_the_isotonic_step_equals_isoreg_of_r(reference, refs) -> None:
    found = ici(reference("p1"), 1, "isotonic").ici
    assert found == pytest.approx(refs["results"]["isoreg_p1_mean_abs"], rel=0, abs=1e-12)


def test_lowess_is_the_metric_of_the_catalogue(reference) -> None:
    assert ici(reference("p3"), 1, "lowess[2/3,0]").ici == pytest.approx(point("ici[lowess,2/3,0]", reference("p3")), abs=1e-14)


@pytest.mark.parametrize("smoother", SMOOTHERS)
def test_of_too_few_probabilities_no_curve_is_drawn(make, smoother) -> None:
    assert np.isnan(ici(make("binary", [0, 1] * 20, np.repeat(np.linspace(0.1, 0.8, 8), 5)), 1, smoother)).all()


def test_a_spline_that_separates_the_classes_does_not_exist(make) -> None:
    assert np.isnan(ici(make("binary", np.arange(40) > 19, np.linspace(0.01, 0.99, 40)), 1, "rcs[3]")).all()


def test_an_unknown_smoother_is_refused(make) -> None:
    with pytest.raises(KeyError, match="Expected a smoother, one of lowess"):
        ici(make("binary", [0, 1], [0.2, 0.4]), 1, "loess")
