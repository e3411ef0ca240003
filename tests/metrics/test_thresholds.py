"""Thresholds against brute force over every decision."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from medmm.metrics.thresholds import best_threshold, best_thresholds


@pytest.mark.parametrize("decimals", [1, 2, 16])
@pytest.mark.parametrize("seed", range(25))
def test_the_threshold_reaches_the_macro_f1_of_brute_force(seed, decimals) -> None:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(40) < rng.integers(1, 40)).astype(float)
    p = (0.3 * y + 0.7 * rng.random(40)).round(decimals)

    def macro(threshold: float) -> float:
        return f1_score(y, p >= threshold, average="macro", labels=[0, 1], zero_division=0)

    found = best_threshold(y, p)
    splitting = np.unique(p)[1:]  # every decision that calls some each way
    assert macro(found) == pytest.approx(max(map(macro, [*splitting, 0.5])), rel=0, abs=1e-12)


def test_brute_force_is_matched_on_thousands_of_samples() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(3000) < 0.1).astype(float)
    p = 0.2 * y + 0.8 * rng.random(3000)
    best = max(f1_score(y, p >= t, average="macro") for t in np.quantile(p, np.linspace(0.5, 0.9999, 300)))
    assert f1_score(y, p >= best_threshold(y, p), average="macro") >= best


def test_of_equal_thresholds_the_one_nearest_one_half_is_taken() -> None:
    assert best_threshold(np.array([0.0, 0.0, 1.0]), np.array([0.1, 0.2, 0.9])) == 0.5
    # 0.2 and 0.7 both call one of the four wrong.
    assert best_threshold(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.3, 0.6, 0.8])) == pytest.approx(0.7)


def test_each_label_has_its_own_threshold_from_its_known_samples() -> None:
    target = np.array([[0, 1, 1], [1, np.nan, 1], [np.nan, 0, 1]])
    probability = np.array([[0.1, 0.3, 0.9], [0.3, 0.9, 0.9], [0.9, 0.1, 0.9]])
    assert best_thresholds("multilabel", target, probability).tolist() == pytest.approx([0.2, 0.2, 0.5])


def test_binary_tasks_have_one_threshold_and_multiclass_none() -> None:
    target, probability = np.eye(2)[[0, 1]], np.array([[0.9, 0.1], [0.7, 0.3]])
    assert best_thresholds("binary", target, probability).tolist() == pytest.approx([0.2])
    assert best_thresholds("multiclass", target, probability) is None


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(("goal", "value", "cost"), [("youden", 0, 1), ("sens_at", 0.9, 1), ("spec_at", 0.8, 1), ("cost", 0, 5.0)])
def test_every_goal_is_reached_as_well_as_by_brute_force(seed, goal, value, cost) -> None:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(40) < rng.integers(2, 39)).astype(float)
    p = (0.3 * y + 0.7 * rng.random(40)).round(2)

    def worth(threshold: float) -> float:
        called = p >= threshold
        sensitivity, specificity = called[y == 1].mean(), (~called)[y == 0].mean()
        if goal == "youden":
            return sensitivity + specificity
        if goal == "cost":
            return -(cost * (y == 1).sum() * (1 - sensitivity) + (y == 0).sum() * (1 - specificity))
        promised, other = (sensitivity, specificity) if goal == "sens_at" else (specificity, sensitivity)
        return other if promised >= value - 1e-12 else -1

    found = best_threshold(y, p, goal, value=value, cost=cost)
    extremes = [] if goal == "youden" else [0, 1.1]
    assert worth(found) == pytest.approx(max(map(worth, [*np.unique(p)[1:], *extremes])), rel=0, abs=1e-9)


def test_a_certain_rate_can_be_had_by_calling_everything_or_nothing() -> None:
    y, p = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.1, 0.2, 0.9, 1.0])
    assert (p >= best_threshold(y, p, "sens_at", value=1.0)).all()
    assert not (p >= best_threshold(y, p, "spec_at", value=1.0)).any()
