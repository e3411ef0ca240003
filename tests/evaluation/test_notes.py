"""What must be said beside a number."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from medmm.evaluation.notes import all_negative_f1
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.store import Record


def multilabel(n: int = 400) -> Predictions:
    """Eighteen findings, most of them rare, and a model that knows nothing."""
    rng = np.random.default_rng(0)
    share = np.geomspace(0.03, 0.45, 18)
    rows = [
        Record(f"s{i}", f"p{i // 2}", i, "full", target=tuple(map(float, rng.random(18) < share)), probability=tuple(share))
        for i in range(n)
    ]
    return Predictions("multilabel", tuple(f"finding {k}" for k in range(18)), tuple(rows), {"type": "test"})


def test_the_weighted_f1_of_calling_everything_absent_is_what_scikit_learn_gives() -> None:
    target = np.array([r.target for r in multilabel().records])
    peer = np.mean([f1_score(y, np.zeros_like(y), average="weighted", zero_division=0) for y in target.T])
    assert all_negative_f1(target) == pytest.approx(peer, rel=0, abs=1e-12)
    target[0] = np.nan
    assert all_negative_f1(target) == pytest.approx(all_negative_f1(target[1:]))
    assert np.isnan(all_negative_f1(np.full((2, 2), np.nan)))


def test_the_trap_of_the_weighted_f1_is_explained_in_words() -> None:
    given = multilabel()
    notes = score(given, Task(name="t", intervals={"replicates": 100}, metrics=["auroc_macro"])).notes
    reached = all_negative_f1(np.array([r.target for r in given.records]))
    (said,) = [n for n in notes if "weighted F1" in n]
    assert f"already scores {reached:.3f} weighted F1" in said
    assert "that number means nothing because" in said


def test_rows_of_repeated_patients_resampled_one_by_one_warn() -> None:
    rows = {"intervals": {"replicates": 100, "cluster": "row"}, "metrics": ["auroc_macro"]}
    results = score(multilabel(), Task(name="t", **rows))
    (said,) = [n for n in results.notes if n.startswith("WARNING")]
    assert "400 samples of 200 patients" in said
    assert results.intervals.method == "row bootstrap, percentile"
    patients = score(multilabel(), Task(name="t", intervals={"replicates": 100}, metrics=["auroc_macro"]))
    assert not any(n.startswith("WARNING") for n in patients.notes)


def test_rare_labels_are_named() -> None:
    notes = score(multilabel(), Task(name="t", intervals={"replicates": 100}, metrics=["auroc_macro"])).notes
    assert any(n.startswith("Fewer than 20 samples of: finding 0") for n in notes)
