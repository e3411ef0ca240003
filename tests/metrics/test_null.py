"""Null bands: the values a perfectly calibrated model has by chance."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.metrics import catalogue, point
from medmm.metrics.calibration import judge_calibration
from medmm.metrics.null import null_band

WIDTH = "ece[equal_width,15]"


def test_the_band_is_the_range_of_the_metric_over_labels_drawn_from_the_probabilities(make) -> None:
    rng = np.random.default_rng(0)
    p = rng.random(150)
    scores = make("binary", rng.random(150) < p, p)
    names = [WIDTH, "ece_l2_debiased[equal_mass,10]", "smece", "spiegelhalter_z", "ici[lowess,2/3,0]", "brier_mcb"]
    bands = null_band(scores, names, simulations=500)
    drawn = [make("binary", rng.random(150) < p, p) for _ in range(250)]
    for name in names:
        low, high = np.quantile([point(name, d) for d in drawn], [0.025, 0.975])
        spread = high - low
        assert bands[name] == pytest.approx((low, high), abs=0.2 * spread), name


def test_it_agrees_with_the_verdict(make) -> None:
    rng = np.random.default_rng(1)
    p = rng.random(300)
    scores = make("binary", rng.random(300) < p, p, cluster=np.arange(300) // 3)
    verdict = judge_calibration(scores, 1, simulations=4000)
    assert null_band(scores, [WIDTH], simulations=4000)[WIDTH][1] == pytest.approx(verdict.ece_null_high, rel=0.02)


def test_repeated_scans_widen_it(make) -> None:
    p = np.repeat(np.random.default_rng(0).random(100), 4)
    once, repeated = (null_band(make("binary", np.zeros(400), p, cluster=c), [WIDTH]) for c in (None, np.arange(400) // 4))
    assert repeated[WIDTH][1] > 1.5 * once[WIDTH][1]


def test_the_labels_that_are_there_do_not_matter(make) -> None:
    p = np.random.default_rng(0).random(50)
    zeros, ones = (null_band(make("binary", np.full(50, y), p), [WIDTH, "smece"]) for y in (0, 1))
    assert zeros == ones


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_several_labels_have_bands_of_their_own_and_on_the_average(make, kind) -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 200)
    target = (rng.random((200, 3)) < p).astype(float) if kind == "multilabel" else (p.cumsum(1) < rng.random((200, 1))).sum(1)
    scores = make(kind, target, p)
    names = [m.name for _, metrics in catalogue(scores) for m in metrics if m.null and not m.dear]
    bands = null_band(scores, names, simulations=200)
    assert set(bands) == set(names)
    assert all(low <= high for low, high in bands.values())
    macro, single = (np.ptp(bands[n]) for n in ("ece_macro[equal_width,15]", "ece[a,equal_width,15]"))
    assert macro < single
    outside = [n for n in names if not bands[n][0] <= point(n, scores) <= bands[n][1]]
    assert len(outside) <= 0.2 * len(names)  # the truth was drawn from the probabilities


def test_unknown_labels_are_left_out(make) -> None:
    p = np.random.default_rng(0).random((100, 2))
    target = np.stack([np.where(np.arange(100) < 50, np.nan, 1.0), np.full(100, np.nan)], axis=1)
    names = ["ece[a,equal_width,15]", "ece[b,equal_width,15]", "ece_macro[equal_width,15]"]
    bands = null_band(make("multilabel", target, p), names)
    alone = null_band(make("multilabel", target[50:, :1], p[50:, :1], cluster=np.arange(50, 100)), names[:1])
    assert set(bands) == {names[0], names[2]}
    assert bands[names[0]] == bands[names[2]]
    assert bands[names[0]] == pytest.approx(alone[names[0]], rel=0.15)


def test_a_flawed_model_is_outside_and_the_seed_decides_the_draws(make) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(400)
    scores = make("binary", rng.random(400) < truth, truth**2)
    first, again, other = (null_band(scores, [WIDTH], seed=s) for s in (1, 1, 2))
    assert point(WIDTH, scores) > first[WIDTH][1]
    assert first == again != other
