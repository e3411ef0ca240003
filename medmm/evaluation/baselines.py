"""What a trained network has to beat: plain models of the columns and of the words, fitted on the same patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from medmm.metrics import decide
from medmm.metrics.thresholds import best_thresholds
from medmm.sources.cohort import Case
from medmm.study import read_number
from medmm.training.split import fold_of_cases
from medmm.transforms.columns import is_skewed
from medmm.types import AnyArray, FloatArray, Kind

_INNER_FOLDS = 5
_PENALTIES = tuple(map(float, np.logspace(-3, 2, 11)))  # C of a logistic regression, from nearly constant to nearly free
_TREES = (30, 100, 300)
_WORD = r"(?u)\b\w[\w.]*\b"  # numbers too


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Of a baseline for some cases, row by row.

    Attributes:
        probability: (n, K).
        called: (n, K) bool, by thresholds of the best macro-F1 in cross-validation among the fitted cases.
    """

    probability: FloatArray
    called: AnyArray


Fit = Callable[[Sequence[Case], Sequence[Case]], Answers]
"""Fitted on the first cases, answers for the second."""

Build = Callable[[], Any]
"""Of an unfitted scikit-learn classifier."""


def baselines(kind: Kind, columns: Sequence[str], *, notes: bool) -> dict[str, Fit]:
    """Every baseline that a cohort has something for, by name.

    Args:
        kind: Kind of task.
        columns: Of the cohort, that hold tabular values: numbers or categories, empty where missing.
        notes: Whether there are notes.
    """
    found: dict[str, Fit] = {}
    if columns:
        found["logistic regression, columns"] = _of_columns(kind, columns, [partial(_linear, c) for c in _PENALTIES])
        found["gradient boosting, columns"] = _of_columns(kind, columns, [partial(_boosted, trees) for trees in _TREES])
        found["best single column"] = lambda fitted, asked: _best_column(kind, columns, fitted, asked)
    if notes:
        found["logistic regression, words of the note"] = lambda fitted, asked: _fit(
            kind, fitted, asked, (_words(fitted), _words(asked)), [partial(_bag, c) for c in _PENALTIES]
        )
    return found


def _of_columns(kind: Kind, columns: Sequence[str], candidates: Sequence[Build]) -> Fit:
    def fit(fitted: Sequence[Case], asked: Sequence[Case]) -> Answers:
        return _fit(kind, fitted, asked, _table(columns, fitted, asked), candidates)

    return fit


def _best_column(kind: Kind, columns: Sequence[str], fitted: Sequence[Case], asked: Sequence[Case]) -> Answers:
    """The column whose logistic regression loses least in cross-validation among the fitted cases."""

    def loss(column: str) -> float:
        table, _ = _table([column], fitted, ())
        return _log_loss(_targets(fitted), _cross_validated(kind, fitted, table, _linear))

    best = min(columns, key=loss)
    return _fit(kind, fitted, asked, _table([best], fitted, asked), [_linear])


def _fit(
    kind: Kind, fitted: Sequence[Case], asked: Sequence[Case], inputs: tuple[AnyArray, AnyArray], candidates: Sequence[Build]
) -> Answers:
    """Answers of the candidate that loses least in cross-validation among the fitted cases."""
    x, asked_x = inputs
    target = _targets(fitted)
    tried = [_cross_validated(kind, fitted, x, build) for build in candidates]
    best = int(np.argmin([_log_loss(target, p) for p in tried]))
    limits = best_thresholds(kind, target, tried[best])
    p = _probability(kind, target, x, asked_x, candidates[best])
    return Answers(p, decide(kind, p, limits))


def _cross_validated(kind: Kind, fitted: Sequence[Case], x: AnyArray, build: Build) -> FloatArray:
    """(n, K) probabilities of the fitted cases by models that did not see the patient."""
    target = _targets(fitted)
    fold = fold_of_cases(fitted, _INNER_FOLDS, 0)
    p = np.zeros(target.shape)
    for f in np.unique(fold):
        p[fold == f] = _probability(kind, target[fold != f], x[fold != f], x[fold == f], build)
    return p


def _probability(kind: Kind, target: FloatArray, x: AnyArray, asked: AnyArray, build: Build) -> FloatArray:
    if kind != "multilabel":
        classes = target.argmax(1)
        model = build().fit(x, classes)
        p = np.zeros((len(asked), target.shape[1]))
        p[:, np.unique(classes)] = model.predict_proba(asked)
        return p
    return np.stack([_probability_of_label(target[:, k], x, asked, build) for k in range(target.shape[1])], axis=1)


def _probability_of_label(label: FloatArray, x: AnyArray, asked: AnyArray, build: Build) -> FloatArray:
    known = ~np.isnan(label)
    if len(np.unique(label[known])) < 2:
        return np.full(len(asked), float(label[known].mean()) if known.any() else 0.5)
    p: FloatArray = build().fit(x[known], label[known]).predict_proba(asked)[:, 1]
    return p


def _linear(c: float = 1.0) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    imputed = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(imputed, StandardScaler(), LogisticRegression(C=c, max_iter=2000))


def _boosted(trees: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=trees, learning_rate=0.02, max_leaf_nodes=8, random_state=0)


def _bag(c: float) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=_WORD)
    return make_pipeline(words, LogisticRegression(C=c, max_iter=2000))


def _words(cases: Sequence[Case]) -> AnyArray:
    return np.array([case.note_text() for case in cases], dtype=object)


def _table(columns: Sequence[str], fitted: Sequence[Case], asked: Sequence[Case]) -> tuple[FloatArray, FloatArray]:
    """Numbers (NaN where missing), as logarithms where a network reads them so; categories of the fitted cases as 0/1 columns."""
    parts = [_column([c.columns[name] for c in fitted], [c.columns[name] for c in asked]) for name in columns]
    return np.concatenate([p[0] for p in parts], axis=1), np.concatenate([p[1] for p in parts], axis=1)


def _column(fitted: Sequence[str], asked: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    first, second = ([read_number(cell) for cell in cells] for cells in (fitted, asked))
    if all(number is not None for number, cell in zip(first, fitted, strict=True) if cell):
        numbers, asked_numbers = np.array(first, dtype=float)[:, None], np.array(second, dtype=float).reshape(-1, 1)
        if is_skewed(numbers[~np.isnan(numbers)]):
            numbers, asked_numbers = np.log1p(numbers), np.log1p(asked_numbers.clip(min=0))
        return numbers, asked_numbers
    known = sorted({cell for cell in fitted if cell})
    one_hot = [np.array([[cell == k for k in known] for cell in cells], dtype=float) for cells in (fitted, asked)]
    return one_hot[0], one_hot[1].reshape(-1, len(known))


def _targets(cases: Sequence[Case]) -> FloatArray:
    return np.stack([c.target for c in cases if c.target is not None])


def _log_loss(target: FloatArray, p: FloatArray) -> float:
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    both = target * np.log(clipped) + (1 - target) * np.log(1 - clipped)
    return float(-np.nanmean(both))
