"""What is drawn of calibration: bins, and a smooth curve with a band."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.metrics.diagram import reliability, smooth_curve
from medmm.metrics.intervals import patient_weights


def test_reliability_intervals_are_wilsons_as_in_r(make, refs) -> None:
    for case in refs["results"]["prop_ci"]:
        y = np.arange(case["n"]) < case["x"]
        (found,) = reliability(make("binary", y, np.full(case["n"], 0.5)), 1)
        assert found.count == case["n"]
        assert [found.low, found.high] == pytest.approx(case["wilson"], abs=refs["suggested_tolerance"]["prop_ci"])


def test_reliability_bins_cover_every_sample_once(make) -> None:
    p = np.random.default_rng(0).choice([0.1, 0.4, 0.9], 200, p=[0.5, 0.3, 0.2])
    y = np.random.default_rng(1).random(200) < p
    bins = reliability(make("binary", y, p), 1)
    assert [b.predicted for b in bins] == pytest.approx(sorted(set(p)))
    assert [b.count for b in bins] == [int((p == v).sum()) for v in sorted(set(p))]
    assert [b.observed for b in bins] == pytest.approx([y[p == v].mean() for v in sorted(set(p))])


def test_a_label_nobody_knows_is_not_drawn(make) -> None:
    scores = make("multilabel", np.full((4, 1), np.nan), np.full((4, 1), 0.5))
    assert reliability(scores, 0) == []
    assert smooth_curve(scores, 0, [np.ones((4, 2))]) == ()


def test_the_band_of_a_calibrated_model_holds_the_diagonal_nearly_everywhere(make) -> None:
    held = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        p = rng.random(300)
        scores = make("binary", rng.random(300) < p, p)
        curve = np.array(smooth_curve(scores, 1, patient_weights(scores.cluster, 100, seed), points=10))
        held.append((curve[:, 2] <= curve[:, 0]) & (curve[:, 0] <= curve[:, 3]))
    assert np.mean([h.mean() for h in held]) > 0.85


def test_the_curve_follows_a_distorted_model(make) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(2000)
    scores = make("binary", rng.random(2000) < truth, truth**2)
    curve = np.array(smooth_curve(scores, 1, patient_weights(scores.cluster, 20, 0)))
    assert len(curve) <= 50
    inner = curve[curve[:, 0] > 0.1]  # a straight line cannot turn the corner at 0
    assert inner[:, 1] == pytest.approx(np.sqrt(inner[:, 0]), abs=0.06)
    assert (curve[:, 2] <= curve[:, 3]).all()


def test_patients_with_several_samples_widen_the_band(make) -> None:
    rng = np.random.default_rng(0)
    p = np.repeat(rng.random(100), 4)
    y = np.repeat(rng.random(100) < p[::4], 4)
    widths = []
    for cluster in (np.arange(400), np.repeat(np.arange(100), 4)):
        curve = np.array(smooth_curve(make("binary", y, p, cluster=cluster), 1, patient_weights(cluster, 100, 0)))
        widths.append((curve[:, 3] - curve[:, 2]).mean())
    assert widths[1] > 1.5 * widths[0]
