"""Prediction sets keep their promise on other patients, and what they cover is counted right."""

from __future__ import annotations

import numpy as np
import pytest

from medmm.evaluation.fit import fit_parts
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.metrics.conformal import PredictionSets
from medmm.store import Record

N = 400


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    """Three classes, calibrated, half of the patients to tune on."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 2 * N)
    y = np.array([rng.choice(3, p=row) for row in p])
    return Predictions(
        "multiclass", ("a", "b", "c"),
        tuple(
            Record(
                f"s{i}", f"p{i}", i, "full", ("val", "test")[i % 2], "", tuple(np.eye(3)[y[i]]), tuple(p[i]),
                columns={"sex": "fm"[i // 2 % 2]},
            )
            for i in range(2 * N)
        ),
        {"type": "test"},
    )  # fmt: skip


def test_sets_hold_the_truth_as_often_as_promised(predictions) -> None:
    task = Task(
        name="t", intervals={"replicates": 200, "dear_replicates": 50}, metrics=["accuracy"], subgroups={"columns": ["sex"]},
        conformal={"methods": ["split", "class_conditional"], "coverage": 0.8},
    )  # fmt: skip
    fitted = fit_parts(predictions, task).conformal
    found = score(predictions, task).arms[0].conformal
    assert [s.method for s in found] == ["split,lac", "class_conditional,lac"]
    scored = [r for r in predictions.records if r.split == "test"]
    p, target = (np.array([getattr(r, name) for r in scored]) for name in ("probability", "target"))
    for sets, content in zip(found, fitted.sets, strict=True):
        inside = PredictionSets.from_dict(content)(p)
        assert sets.coverage.value == pytest.approx((inside * target).sum(1).mean())
        assert sets.size.value == pytest.approx(inside.sum(1).mean())
        assert sets.coverage.low < 0.8 < sets.coverage.high + 0.02
        women = np.array([r.columns["sex"] == "f" for r in scored])
        assert sets.by_group["sex=f"].value == pytest.approx((inside * target).sum(1)[women].mean())
        assert (sets.split, sets.n, sets.promised) == ("val", N, 0.8)
