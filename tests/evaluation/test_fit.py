"""What is fitted on one split and used on another: by value, with provenance, never on what is scored."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from medmm.errors import LeakageError, PredictionsError, TaskError
from medmm.evaluation.fit import Fitted, fit_parts
from medmm.evaluation.predictions import Decided, Predictions
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.metrics.thresholds import best_thresholds
from medmm.store import Record

N = 300


@pytest.fixture(scope="module")
def overconfident() -> Predictions:
    """Logits three times too large, two thirds of the patients to tune on and one to test."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=3 * N)
    y = rng.random(3 * N) < 1 / (1 + np.exp(-z))
    p = 1 / (1 + np.exp(-3 * z))
    return Predictions(
        "binary", ("no", "yes"),
        tuple(
            Record(
                f"s{i}", f"p{i}", i, "full", "val" if i < 2 * N else "test", ("image", "text")[i % 2], (1.0 - y[i], float(y[i])),
                (1 - p[i], p[i]), (0.0, 3 * z[i]), ("yes",) if p[i] > 0.5 else ("no",),
            )
            for i in range(3 * N)
        ),
        {"type": "test"}, decided={"full": Decided("model", "val", (0.5,))},
    )  # fmt: skip


def task(**more) -> Task:
    measured = {"intervals": {"replicates": 200, "dear_replicates": 50}, "metrics": ["log_loss", "brier", "cal_slope", "f1_macro"]}
    return Task(name="t", **(measured | more))


def test_recalibration_is_measured_before_and_after_and_said_to_help(overconfident) -> None:
    results = score(overconfident, task(recalibration={"method": "platt"}))
    (found,) = results.recalibration
    assert (found.method, found.split, found.n, found.applied, found.helped) == ("platt", "val", 2 * N, True, True)
    assert found.after["log_loss"].value < found.before["log_loss"].value
    assert found.before["cal_slope"].high < 0.6
    assert found.after["cal_slope"].low < 1 < found.after["cal_slope"].high
    assert results.arms[0].metrics["log_loss"] == found.after["log_loss"]
    difference = next(c for c in found.differences if c.metric == "log_loss")
    assert difference.difference == pytest.approx(found.after["log_loss"].value - found.before["log_loss"].value)
    assert (difference.first, difference.second, difference.excludes_zero) == ("after", "before", True)
    assert results.arms[0].calibration["yes"].calibrated
    assert not score(overconfident, task()).arms[0].calibration["yes"].calibrated


def test_a_well_calibrated_model_gains_nothing_and_that_is_said(overconfident) -> None:
    mild = tuple(
        replace(r, logit=(0.0, r.logit[1] / 3), probability=(1 / (1 + np.exp(r.logit[1] / 3)), 1 / (1 + np.exp(-r.logit[1] / 3))))
        for r in overconfident.records
    )
    (found,) = score(replace(overconfident, records=mild), task(recalibration={"method": "temperature"})).recalibration
    assert found.helped is None


def test_thresholds_are_chosen_on_the_recalibrated_probabilities(overconfident) -> None:
    wanted = task(recalibration={"method": "temperature"}, thresholds={"policy": "youden"})
    fitted = fit_parts(overconfident, wanted)
    assert fitted.thresholds is not None
    assert fitted.recalibration is not None
    tuning = [r for r in overconfident.records if r.split == "val"]
    probability = fitted.recalibration("full", tuning)
    expected = best_thresholds("binary", np.array([r.target for r in tuning]), probability, "youden")
    assert fitted.thresholds.by_arm["full"] == tuple(expected)
    decision = score(overconfident, wanted).arms[0].decision
    assert (decision.policy, decision.split, decision.n, decision.sha256) == (
        "youden",
        "val",
        2 * N,
        fitted.thresholds.source.sha256,
    )
    assert decision.thresholds == tuple(expected)


def test_what_is_fitted_survives_as_json_and_gives_the_same_results(overconfident, tmp_path) -> None:
    wanted = task(recalibration={"method": "beta", "per_pattern": True}, thresholds={"policy": "sens_at", "value": 0.9})
    fitted = fit_parts(overconfident, wanted)
    fitted.write(tmp_path)
    assert Fitted.read(tmp_path) == fitted
    assert set(json.loads((tmp_path / "recalibration.json").read_text())["by_arm"]["full"]["own"]) == {"image", "text"}
    again = score(overconfident, task(), Fitted.read(tmp_path))
    now = score(overconfident, wanted)
    assert again.arms == now.arms
    assert again.recalibration == now.recalibration


def test_no_patient_is_named_in_what_is_fitted(overconfident, tmp_path) -> None:
    fit_parts(overconfident, task(thresholds={"policy": "youden"})).write(tmp_path)
    text = (tmp_path / "thresholds.json").read_text()
    assert '"p1"' not in text
    assert len(json.loads(text)["source"]["patient_digests"]) == 2 * N


def test_what_was_fitted_on_scored_patients_is_refused(overconfident) -> None:
    fitted = fit_parts(overconfident, task(thresholds={"policy": "youden"}))
    scored = replace(overconfident, records=tuple(replace(r, split="test") for r in overconfident.records))
    with pytest.raises(LeakageError, match=f"{2 * N} are on both sides"):
        score(scored, task(), fitted)


def test_the_scored_split_is_refused_for_every_part() -> None:
    for part in (
        {"thresholds": {"policy": "youden"}},
        {"recalibration": {"method": "platt"}},
        {"conformal": {"methods": ["split"]}},
    ):
        ((name, policy),) = part.items()
        with pytest.raises(ValueError, match=f"{name} must be fitted on another split"):
            Task(name="t", **{name: policy | {"split": "test"}})
        with pytest.raises(TaskError, match="another split"):
            Task(name="t", **part).altered({name: {"split": "test"}})


def test_what_cannot_be_fitted_is_said(overconfident) -> None:
    with pytest.raises(TaskError, match="temperature"):
        fit_parts(overconfident, task(recalibration={"method": "platz"}))
    with pytest.raises(TaskError, match="'tune'"):
        fit_parts(overconfident, task(recalibration={"method": "platt", "split": "tune"}))
    other = fit_parts(replace(overconfident, labels=("a", "b")), task(thresholds={"policy": "youden"}))
    with pytest.raises(TaskError, match="other labels"):
        score(overconfident, task(), other)


def test_a_damaged_file_is_refused(tmp_path) -> None:
    (tmp_path / "thresholds.json").write_text("{}")
    with pytest.raises(PredictionsError, match=r"thresholds\.json"):
        Fitted.read(tmp_path)


def test_predictions_without_logits_are_recalibrated_from_their_probabilities(overconfident) -> None:
    bare = replace(overconfident, records=tuple(replace(r, logit=()) for r in overconfident.records))
    wanted = task(recalibration={"method": "platt"})
    given, found = (score(p, wanted).recalibration[0].after["log_loss"].value for p in (overconfident, bare))
    assert found == pytest.approx(given, abs=2e-3)
