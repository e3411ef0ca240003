"""Every number of the table against the one R printed."""

from __future__ import annotations

import pytest

from medmm.metrics import point
from medmm.metrics.val_prob import val_prob

NAMES = {
    "dxy": "Dxy",
    "c": "C (ROC)",
    "r2": "R2",
    "d": "D",
    "d_chi2": "D:Chi-sq",
    "u": "U",
    "u_chi2": "U:Chi-sq",
    "u_p": "U:p",
    "q": "Q",
    "brier": "Brier",
    "intercept": "Intercept",
    "slope": "Slope",
    "emax": "Emax",
    "e90": "E90",
    "eavg": "Eavg",
    "s_z": "S:z",
    "s_p": "S:p",
}


@pytest.mark.parametrize("name", ["p1", "p2", "p3"])
def test_every_number_equals_rms(reference, refs, name) -> None:
    theirs, found = refs["results"]["val_prob"][name], val_prob(reference(name), 1)
    assert set(found._fields) == set(NAMES)
    assert set(theirs) - set(NAMES.values()) == {"D:p"}  # R prints NA there
    loose = {"intercept": refs["suggested_tolerance"]["cox_coef"], "slope": refs["suggested_tolerance"]["cox_coef"]}
    for field, key in NAMES.items():
        assert getattr(found, field) == pytest.approx(theirs[key], rel=1e-9, abs=loose.get(field, 1e-12)), field


def test_the_rank_correlation_counts_what_is_equal_to_the_fourth_digit_as_tied(make) -> None:
    scores = make("binary", [0, 1, 1, 0, 1], [0.30001, 0.30002, 0.9, 0.8, 0.1])
    assert val_prob(scores, 1).c == pytest.approx(2.5 / 6)
    assert point("auroc", scores) == pytest.approx(3 / 6)


def test_without_a_fit_there_is_no_table(make) -> None:
    assert val_prob(make("binary", [1, 1, 1], [0.1, 0.7, 0.9]), 1) is None
