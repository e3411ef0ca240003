"""What every family of metrics keeps to, ours and a plug-in's: one table of scores, one list of promises."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medmm.metrics import FAMILIES, Family, Scores, decide

PLUGIN = Path(__file__).parents[1] / "plugin" / "medmm_plugin.py"
NAMES = [*FAMILIES, "plugin"]
EXACT = {"rel": 1e-12, "abs": 1e-12}
FAMILY = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def plugin() -> Family:
    spec = importlib.util.spec_from_file_location("medmm_plugin", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SHARPNESS


@pytest.fixture
def family(name: str, plugin: Family) -> Family:
    return plugin if name == "plugin" else FAMILIES.get(name)


def scores_of(kind: str, case: str) -> Scores:
    """Generated scores: smooth, with ties and certainty, of one class, with unknown labels, of one sample, of none."""
    rng = np.random.default_rng(7)
    n = {"one": 1, "none": 0}.get(case, 60)
    classes = 2 if kind == "binary" else 3
    p = rng.random((n, 3)) if kind == "multilabel" else rng.dirichlet([0.7] * classes, n)
    if case == "ties":
        p = p.round(1) if kind == "multilabel" else np.eye(classes)[rng.integers(0, classes, n)] * 0.6 + 0.4 / classes
        certain = rng.random(n) < 0.2
        p[certain] = np.eye(classes)[rng.integers(0, classes, certain.sum())]
    if kind == "multilabel":
        target = (rng.random((n, 3)) < p).astype(float)
    else:
        target = np.eye(classes)[[rng.choice(classes, p=row / row.sum()) for row in p * 0.7 + 0.3 / classes]].reshape(n, classes)
    if case == "one class":
        target = np.zeros((n, 3)) if kind == "multilabel" else np.tile(np.eye(classes)[0], (n, 1))
    if case == "unknown" and kind == "multilabel":
        target[rng.random((n, 3)) < 0.3] = np.nan
        target[:, 2] = np.nan
    labels = tuple("abc"[:classes])
    prevalence = tuple(0.1 * (k + 1) for k in range(classes))
    return Scores(kind, labels, target, p, decide(kind, p), np.arange(n) // 2, prevalence)


def repeated(scores: Scores, times: np.ndarray) -> Scores:
    return scores.take(np.repeat(np.arange(len(scores)), times))


def plain(family: Family, scores: Scores) -> np.ndarray:
    return family.batch(scores, np.ones((len(scores), 1)))[:, 0]


KINDS = pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
CASES = pytest.mark.parametrize("case", ["smooth", "ties", "one class", "unknown", "one", "none"])


@FAMILY
@KINDS
@CASES
def test_a_weighted_metric_is_the_metric_of_repeated_rows(family, kind, case) -> None:
    scores = scores_of(kind, case)
    drawn = np.random.default_rng(1).integers(0, 4, (len(scores), 5))
    together = family.batch(scores, drawn.astype(np.float64))
    for r in range(5):
        apart, again = family.batch(scores, drawn[:, [r]].astype(np.float64))[:, 0], plain(family, repeated(scores, drawn[:, r]))
        for metric, value, alone, of_rows in zip(family.metrics(scores), together[:, r], apart, again, strict=True):
            assert value == pytest.approx(alone, **EXACT, nan_ok=True), metric.name
            assert value == pytest.approx(of_rows, **EXACT, nan_ok=True), metric.name


@FAMILY
@KINDS
@CASES
def test_values_are_within_their_bounds_or_undefined_with_a_reason_and_nothing_warns(family, kind, case) -> None:
    scores = scores_of(kind, case)
    drawn = np.random.default_rng(2).integers(0, 3, (len(scores), 4)).astype(np.float64)
    drawn[:, 3] = 0  # a subgroup that a replicate has lost
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        metrics, values = family.metrics(scores), family.batch(scores, drawn)
    assert values.shape == (len(metrics), 4)
    assert values.dtype == np.float64
    for metric, row in zip(metrics, values, strict=True):
        defined = row[~np.isnan(row)]
        assert ((defined >= metric.low) & (defined <= metric.high)).all(), metric.name
        assert not np.isinf(defined).any(), metric.name
        assert np.isnan(row[3]), f"{metric.name} of nothing"
        assert metric.undefined
        assert metric.better in ("higher", "lower", "target")


@FAMILY
@KINDS
@CASES
def test_the_order_of_the_rows_does_not_matter(family, kind, case) -> None:
    scores = scores_of(kind, case)
    shuffled = scores.take(np.random.default_rng(3).permutation(len(scores)))
    assert plain(family, scores) == pytest.approx(plain(family, shuffled), **EXACT, nan_ok=True)


@FAMILY
@KINDS
def test_scores_and_weights_are_left_as_they_were(family, kind) -> None:
    scores, weights = scores_of(kind, "ties"), np.full((60, 3), 2.0)
    before = [scores.target.copy(), scores.probability.copy(), scores.called.copy()]
    first, second = family.batch(scores, weights), family.batch(scores, weights)
    assert first == pytest.approx(second, rel=0, abs=0, nan_ok=True)
    assert all((a == b).all() for a, b in zip(before, (scores.target, scores.probability, scores.called), strict=True))
    assert (weights == 2).all()


@FAMILY
@KINDS
def test_only_metrics_that_say_so_depend_on_the_decisions(family, kind) -> None:
    scores = scores_of(kind, "smooth")
    turned = replace(scores, called=scores.called[:, ::-1])
    for metric, value, other in zip(family.metrics(scores), plain(family, scores), plain(family, turned), strict=True):
        if not metric.decision:
            assert value == pytest.approx(other, nan_ok=True), metric.name
