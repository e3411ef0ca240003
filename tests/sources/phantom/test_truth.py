"""Oracle: the eight combinations of findings and label as weighted samples, measured by scikit-learn."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, f1_score, log_loss, roc_auc_score

from medmm.errors import CohortError
from medmm.sources.phantom.truth import ARMS, Table, limits_of

TABLES = [
    Table(),
    Table(((0.5, 0.6), (0.2, 0.9)), image_rate=0.3, text_rate=0.8),
    Table(((0.1, 0.9), (0.9, 0.1)), image_rate=0.6, text_rate=0.25),  # neither finding alone says much
    Table(((0.0, 1.0), (1.0, 1.0))),
    Table(((0.3, 0.3), (0.3, 0.3))),
]
ATOMS = np.array(list(product((0, 1), repeat=3)))  # image, text, label
METRICS = ("auroc", "brier", "log_loss", "f1_positive", "f1_macro")


def weights(table: Table) -> np.ndarray:
    image, text, label = ATOMS.T
    rate = np.where(image, table.image_rate, 1 - table.image_rate) * np.where(text, table.text_rate, 1 - table.text_rate)
    positive = np.array([table.positive[i][t] for i, t in zip(image, text, strict=True)])
    return rate * np.where(label, positive, 1 - positive)


def posterior(table: Table, arm: frozenset[str]) -> np.ndarray:
    """P(label | what the arm sees) of every atom by summing over all atoms that look the same."""
    w, seen = weights(table), [("image", "text").index(m) for m in arm]
    alike = (ATOMS[:, None, seen] == ATOMS[None, :, seen]).all(-1)
    return (alike * w * ATOMS[:, 2]).sum(1) / (alike * w).sum(1)


def measured(p: np.ndarray, w: np.ndarray) -> dict[str, float]:
    label, p = ATOMS[:, 2], np.clip(p.round(12), 0, 1)
    called = [p >= t for t in np.unique(p)]
    return {
        "auroc": roc_auc_score(label, p, sample_weight=w),
        "brier": brier_score_loss(label, p, sample_weight=w),
        "log_loss": log_loss(label, p, sample_weight=w),
        "f1_positive": max(f1_score(label, c, sample_weight=w) for c in called),
        "f1_macro": max(f1_score(label, c, sample_weight=w, average="macro") for c in called),
    }


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("arm", ARMS)
def test_posterior_equals_the_sum_over_all_combinations(table: Table, arm: frozenset[str]) -> None:
    image, text, _ = ATOMS.T
    np.testing.assert_allclose(table.posterior(arm)[image, text], posterior(table, arm), atol=1e-12)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("arm", ARMS)
def test_limits_equal_scikit_learns_metrics_of_the_true_posterior(table: Table, arm: frozenset[str]) -> None:
    assert table.limits(arm) == pytest.approx(measured(posterior(table, arm), weights(table)), abs=1e-9)


@pytest.mark.parametrize("table", TABLES[:3])
def test_the_additive_limit_of_log_loss_is_that_of_a_fitted_logistic_regression(table: Table) -> None:
    w, found = weights(table), table.additive_limits()
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(ATOMS[:, :2], ATOMS[:, 2], sample_weight=w)
    fitted = measured(model.predict_proba(ATOMS[:, :2])[:, 1], w)
    assert found["log_loss"] == pytest.approx(fitted["log_loss"], abs=1e-6)
    assert all(found[m] >= fitted[m] - 1e-9 for m in ("auroc", "f1_positive", "f1_macro"))
    assert found["brier"] <= fitted["brier"] + 1e-9


@pytest.mark.parametrize("table", TABLES[:3])
def test_no_additive_model_of_a_grid_beats_the_additive_limits_and_some_come_close(table: Table) -> None:
    limits, image, text = table.additive_limits(), np.array([[0.0], [1.0]]), np.array([[0.0, 1.0]])
    grid = product(np.linspace(-9, 5, 15), np.linspace(-6, 8, 15), np.linspace(-6, 8, 15))
    logits = [a + b * image + c * text for a, b, c in grid]
    best = {}
    for name in METRICS:
        harm = name in ("brier", "log_loss")
        scale = 1.0 if harm else 0.1  # the same order, without probabilities so near to 0 that they tie
        found = [limits_of(expit(scale * x), np.asarray(table.positive), table.cells)[name] for x in logits[:: 1 if harm else 7]]
        best[name] = min(found) - limits[name] if harm else limits[name] - max(found)
    assert all(-1e-9 <= gap < 0.02 for gap in best.values()), best  # the grid is coarse


@pytest.mark.parametrize(
    ("part", "worse"),
    [("image", METRICS), ("text", METRICS), ("additive", ("brier", "log_loss"))],  # an additive model can rank right
)
def test_by_default_neither_one_modality_nor_an_additive_model_reaches_both(part: str, worse: tuple[str, ...]) -> None:
    limits = Table().summary()["limits"]
    sign = {"brier": -1, "log_loss": -1}
    assert all(sign.get(m, 1) * (limits["image+text"][m] - limits[part][m]) > 2e-5 for m in worse)


def test_a_sample_drawn_from_the_law_approaches_the_limits() -> None:
    """The limits are reachable: a million patients, predicted by their posterior."""
    table, rng = Table(), np.random.default_rng(0)
    drawn = ATOMS[rng.choice(8, size=1_000_000, p=weights(table))]
    p = table.posterior(ARMS[0])[drawn[:, 0], drawn[:, 1]]
    assert roc_auc_score(drawn[:, 2], p) == pytest.approx(table.limits(ARMS[0])["auroc"], abs=0.002)
    assert brier_score_loss(drawn[:, 2], p) == pytest.approx(table.limits(ARMS[0])["brier"], abs=0.001)


def test_a_law_is_read_from_text() -> None:
    assert Table.from_text("0.1, 0.2,0.3,1") == Table(((0.1, 0.2), (0.3, 1.0)))


@pytest.mark.parametrize("text", ["", "0.1,0.2,0.3", "0.1,0.2,0.3,0.4,0.5", "a,b,c,d", "0,0,0,1.1", "-0.1,0,0,1", "nan,0,0,1",
                                  "0,0,0,0", "1,1,1,1"])  # fmt: skip
def test_text_that_is_no_law_is_refused(text: str) -> None:
    with pytest.raises(CohortError, match="four probabilities"):
        Table.from_text(text)


@pytest.mark.parametrize("rates", [{"image_rate": 0}, {"text_rate": 1.0}])
def test_a_finding_that_never_or_always_occurs_is_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="rates"):
        Table(**rates)


def test_summary_is_finite_json() -> None:
    summary = json.loads(json.dumps(TABLES[1].summary(), allow_nan=False))
    assert summary["prevalence"] == pytest.approx(0.7 * 0.2 * 0.5 + 0.7 * 0.8 * 0.6 + 0.3 * 0.2 * 0.2 + 0.3 * 0.8 * 0.9)
    assert list(summary["limits"]) == ["image+text", "image", "text", "additive"]
