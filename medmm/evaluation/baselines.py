"""What a trained network has to beat: plain models of the columns and of the words, fitted on the same patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

Read = Callable[[Sequence[Case], Sequence[Case]], tuple[AnyArray, AnyArray]]
"""Inputs of the first cases, from which alone categories are learned, and of the second."""

Build = Callable[[], Any]
"""Of an unfitted scikit-learn estimator."""


@dataclass(frozen=True, slots=True)
class _Family:
    """Classifiers between which cross-validation chooses.

    Attributes:
        reader: Makes numbers of the input for all of them, so that a vocabulary is learned once and not by each.
        classifiers: Of one kind, from the most to the least constrained.
    """

    reader: Build
    classifiers: tuple[Build, ...]

    def only(self, index: int) -> _Family:
        """One of them alone."""
        return replace(self, classifiers=(self.classifiers[index],))

    def probability(self, x: AnyArray, classes: AnyArray, asked: AnyArray) -> FloatArray:
        """(classifiers, n, classes) of the asked."""
        reader = self.reader()
        x, asked = reader.fit_transform(x), reader.transform(asked)
        return np.stack([build().fit(x, classes).predict_proba(asked) for build in self.classifiers])


def baselines(kind: Kind, columns: Sequence[str], *, notes: bool) -> dict[str, Fit]:
    """Every baseline that a cohort has something for, by name.

    Args:
        kind: Kind of task.
        columns: Of the cohort, that hold tabular values: numbers or categories, empty where missing.
        notes: Whether there are notes.
    """
    found: dict[str, Fit] = {}
    logistic = tuple(partial(_logistic, c) for c in _PENALTIES)
    if columns:
        table, boosted = partial(_table, columns), tuple(partial(_boosted, trees) for trees in _TREES)
        found["logistic regression, columns"] = partial(_fit, kind, table, _Family(_scaled, logistic))
        found["gradient boosting, columns"] = partial(_fit, kind, table, _Family(_untouched, boosted))
        found["best single column"] = partial(_best_column, kind, columns)
    if notes:
        found["logistic regression, words of the note"] = partial(_fit, kind, _words, _Family(_counted, logistic))
    return found


def _best_column(kind: Kind, columns: Sequence[str], fitted: Sequence[Case], asked: Sequence[Case]) -> Answers:
    """The column whose logistic regression loses least in cross-validation among the fitted cases."""
    family = _Family(_scaled, (partial(_logistic, 1.0),))

    def loss(column: str) -> float:
        table, _ = _table([column], fitted, ())
        return _log_loss(_targets(fitted), _cross_validated(kind, fitted, table, family)[0])

    return _fit(kind, partial(_table, [min(columns, key=loss)]), family, fitted, asked)


def _fit(kind: Kind, read: Read, family: _Family, fitted: Sequence[Case], asked: Sequence[Case]) -> Answers:
    """Answers of the classifier that loses least in cross-validation among the fitted cases."""
    x, asked_x = read(fitted, asked)
    target = _targets(fitted)
    tried = _cross_validated(kind, fitted, x, family)
    best = int(np.argmin([_log_loss(target, p) for p in tried]))
    limits = best_thresholds(kind, target, tried[best])
    p = _probability(kind, target, x, asked_x, family.only(best))[0]
    return Answers(p, decide(kind, p, limits))


def _cross_validated(kind: Kind, fitted: Sequence[Case], x: AnyArray, family: _Family) -> FloatArray:
    """(classifiers, n, K) probabilities of the fitted cases by models that did not see the patient."""
    target = _targets(fitted)
    fold = fold_of_cases(fitted, _INNER_FOLDS, 0)
    p = np.zeros((len(family.classifiers), *target.shape))
    for f in np.unique(fold):
        p[:, fold == f] = _probability(kind, target[fold != f], x[fold != f], x[fold == f], family)
    return p


def _probability(kind: Kind, target: FloatArray, x: AnyArray, asked: AnyArray, family: _Family) -> FloatArray:
    """(classifiers, n, K)."""
    if kind == "multilabel":
        return np.stack([_probability_of_label(label, x, asked, family) for label in target.T], axis=2)
    classes = target.argmax(1)
    p = np.zeros((len(family.classifiers), len(asked), target.shape[1]))
    p[:, :, np.unique(classes)] = family.probability(x, classes, asked)
    return p


def _probability_of_label(label: FloatArray, x: AnyArray, asked: AnyArray, family: _Family) -> FloatArray:
    """(classifiers, n)."""
    known = ~np.isnan(label)
    if len(np.unique(label[known])) < 2:
        return np.full((len(family.classifiers), len(asked)), float(label[known].mean()) if known.any() else 0.5)
    return family.probability(x[known], label[known], asked)[:, :, 1]


def _logistic(c: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=c, max_iter=2000)


def _boosted(trees: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=trees, learning_rate=0.02, max_leaf_nodes=8, random_state=0)


def _scaled() -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())


def _untouched() -> Any:
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer()


def _counted() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=_WORD)


def _words(fitted: Sequence[Case], asked: Sequence[Case]) -> tuple[AnyArray, AnyArray]:
    first, second = (np.array([case.note_text() for case in cases], dtype=object) for cases in (fitted, asked))
    return first, second


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
