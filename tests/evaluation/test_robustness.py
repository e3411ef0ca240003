"""Curves of metrics as inputs get worse."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from medmm.evaluation.arms import decides_as, worse_version
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.store import Record

N = 160


def made(arms: dict[str, float], split: str = "test", seed: int = 0, lacking: dict[str, int] | None = None) -> list[Record]:
    """Rows of N patients; the number of an arm is the noise on its logits, `lacking` leaves out its first so many samples."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=N) * 2
    y, noise = rng.random(N) < 1 / (1 + np.exp(-z)), rng.normal(size=N)
    rows = []
    for arm, amount in arms.items():
        p = 1 / (1 + np.exp(-(z + amount * noise)))
        for i in range((lacking or {}).get(arm, 0), N):
            target, probability = (float(not y[i]), float(y[i])), (float(1 - p[i]), float(p[i]))
            rows.append(Record(f"{split}{i}", f"{split}{i}", i, arm, split, "image", target, probability))
    return rows


@pytest.fixture(scope="module")
def rows() -> list[Record]:
    arms = {"full": 0.0, "image": 0.5, "noise=20": 4.0, "noise=5": 1.0, "blur=2": 2.0}
    return [*made(arms, lacking={"noise=20": 10}), *made({"full": 0.0, "noise=5": 1.0}, "val", seed=1)]


@pytest.fixture(scope="module")
def results(rows):
    task = Task.model_validate(
        {"name": "t", "intervals": {"replicates": 200}, "thresholds": {"policy": "max_f1_macro", "split": "val"}}
    )
    return score(Predictions("binary", ("no", "yes"), tuple(rows), {"type": "file"}), task)


def columns(rows, arm, samples):
    by_sample = {r.sample_id: r for r in rows if r.arm == arm}
    return np.array([[by_sample[s].target[1], by_sample[s].probability[1]] for s in samples]).T


def test_every_level_is_measured_on_the_samples_that_all_levels_answered(rows, results) -> None:
    curves = {(c.perturbation, c.metric): c for c in results.robustness}
    noise, blur = curves["noise", "auroc"], curves["blur", "auroc"]
    assert (noise.levels, noise.n, noise.unit) == ((0.0, 5.0, 20.0), N - 10, "HU, standard deviation")
    assert (blur.levels, blur.n) == ((0.0, 2.0), N)
    samples = [f"test{i}" for i in range(10, N)]
    for arm, value in zip(("full", "noise=5", "noise=20"), noise.values, strict=True):
        assert value.value == pytest.approx(roc_auc_score(*columns(rows, arm, samples)), abs=1e-12)
        assert value.low < value.value < value.high
    assert noise.values[0].value > noise.values[1].value > noise.values[2].value


def test_differences_are_paired(results) -> None:
    curve = next(c for c in results.robustness if (c.perturbation, c.metric) == ("noise", "auroc"))
    for value, difference in zip(curve.values[1:], curve.differences, strict=True):
        assert difference.value == pytest.approx(value.value - curve.values[0].value, abs=1e-12)
        assert difference.high - difference.low < np.hypot(value.high - value.low, curve.values[0].high - curve.values[0].low)
    assert curve.differences[-1].high < 0


def test_worse_versions_are_decided_as_if_nobody_knew(rows, results) -> None:
    (threshold,) = results.arm("full").decision.thresholds
    curve = next(c for c in results.robustness if (c.perturbation, c.metric) == ("blur", "f1_macro"))
    truth, p = columns(rows, "blur=2", [f"test{i}" for i in range(N)])
    assert curve.values[1].value == pytest.approx(f1_score(truth, p >= threshold, average="macro"), abs=1e-12)


def test_they_are_no_arms_of_their_own_in_results_and_nothing_is_fitted_on_them(rows, results) -> None:
    assert {arm.name for arm in results.arms} == {"full", "image", "prevalence"}
    assert not any("=" in c.first + c.second for c in results.comparisons)
    without = [r for r in rows if not worse_version(r.arm)]
    task = Task.model_validate(
        {"name": "t", "intervals": {"replicates": 200}, "thresholds": {"policy": "max_f1_macro", "split": "val"}}
    )
    plain = score(Predictions("binary", ("no", "yes"), tuple(without), {"type": "file"}), task)
    assert results.model_copy(update={"robustness": ()}) == plain
    assert plain.robustness == ()


@pytest.mark.parametrize(
    ("arm", "version"),
    [("noise=20", ("noise", 20.0)), ("typos=0.05", ("typos", 0.05)), ("x=1e-05", ("x", 1e-5)), ("full", None), ("image+text", None),
     ("a=b", None), ("noise=", None), ("=3", None), ("noise=-1", None), ("noise=1 ", None)],
)  # fmt: skip
def test_arms_of_worse_versions_are_known_by_their_names(arm: str, version: tuple[str, float] | None) -> None:
    assert worse_version(arm) == version
    assert decides_as(arm) == ("full" if version else arm)
