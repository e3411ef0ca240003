"""Baselines know no more than the patients they are fitted on, and find what is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medmm.evaluation.baselines import baselines
from medmm.sources.cohort import Case


def cases(n: int, seed: int, *, kind: str = "binary") -> list[Case]:
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        size = float(rng.normal())
        y = float(rng.random() < 1 / (1 + np.exp(-2 * size)))
        target = np.array([1 - y, y]) if kind == "binary" else np.array([y, np.nan if i % 7 == 0 else 1 - y])
        columns = {
            "size": "" if i % 11 == 0 else f"{size:.6f}",
            "noise": f"{rng.normal():.6f}",
            "group": "ab"[int(y)] if i % 2 else "",
        }
        found.append(Case(f"S{i}", f"P{i}", (), f"size {size:.1f}, {'large' if y else 'small'}", target, None, columns))
    return found


def test_there_is_nothing_where_a_cohort_has_neither_columns_nor_notes() -> None:
    assert baselines("binary", (), notes=False) == {}


def test_the_linear_baseline_is_the_logistic_regression_that_cross_validation_by_patient_chooses() -> None:
    fitted, asked = cases(120, 0), cases(100, 1)
    found = baselines("binary", ["noise"], notes=False)["logistic regression, columns"](fitted, asked)
    x, xa = (np.array([[float(c.columns["noise"])] for c in side]) for side in (fitted, asked))
    y = np.array([c.target[1] for c in fitted if c.target is not None])
    searched = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()),
        {"logisticregression__C": np.logspace(-3, 2, 11)},
        scoring="neg_log_loss",
        cv=StratifiedGroupKFold(5, shuffle=True, random_state=0),
    ).fit(x, y, groups=np.arange(len(y)))
    assert searched.best_params_["logisticregression__C"] < 1  # noise is better not believed
    assert found.probability == pytest.approx(searched.predict_proba(xa), abs=1e-5)


def test_a_skewed_quantity_is_read_as_its_logarithm() -> None:
    plain = cases(300, 8)
    volumes = [replace(c, columns={"volume": str(np.exp(2 * float(c.columns["noise"])))}) for c in plain]
    logs = [replace(c, columns={"volume": str(np.log1p(float(c.columns["volume"])))}) for c in volumes]
    fit = baselines("binary", ["volume"], notes=False)["logistic regression, columns"]
    assert fit(volumes[:200], volumes[200:]).probability == pytest.approx(fit(logs[:200], logs[200:]).probability, abs=1e-6)


@pytest.mark.parametrize("name", ["logistic regression, columns", "gradient boosting, columns", "best single column"])
def test_columns_with_missing_cells_and_categories_are_read(name: str) -> None:
    fitted, asked = cases(400, 2), cases(200, 3)
    found = baselines("binary", ["noise", "size"], notes=False)[name](fitted, asked)
    y = [c.target[1] for c in asked if c.target is not None]
    assert roc_auc_score(y, found.probability[:, 1]) > 0.75
    assert found.probability.sum(1) == pytest.approx(1)
    alone = baselines("binary", ["group"], notes=False)["logistic regression, columns"](fitted, asked)
    assert roc_auc_score(y, alone.probability[:, 1]) > 0.75


def test_words_of_the_note_are_read() -> None:
    fitted, asked = cases(200, 4), cases(100, 5)
    found = baselines("binary", (), notes=True)["logistic regression, words of the note"](fitted, asked)
    y = np.array([c.target[1] for c in asked if c.target is not None])
    assert (found.called[:, 1] == y).mean() > 0.95


def test_every_label_of_several_is_fitted_on_the_cases_where_it_is_known() -> None:
    fitted, asked = cases(300, 6, kind="multilabel"), cases(100, 7, kind="multilabel")
    found = baselines("multilabel", ["size"], notes=False)["logistic regression, columns"](fitted, asked)
    y = np.array([c.target[0] for c in asked if c.target is not None])
    assert roc_auc_score(y, found.probability[:, 0]) > 0.75
    assert roc_auc_score(1 - y, found.probability[:, 1]) > 0.75
