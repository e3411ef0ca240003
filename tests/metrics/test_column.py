"""One label's samples in order."""

from __future__ import annotations

import numpy as np

from medmm.metrics.column import Column, column


def test_a_column_holds_the_known_samples_by_rising_probability() -> None:
    label = Column.of(np.array([1, np.nan, 0, 1, 0]), np.array([0.7, 0.1, 0.7, 0.2, 0.9]))
    assert label.rows.tolist() == [3, 2, 0, 4]
    assert label.p.tolist() == [0.2, 0.7, 0.7, 0.9]
    assert label.y.tolist() == [1, 0, 1, 0]
    assert label.starts.tolist() == [0, 1, 3]


def test_sums_go_over_segments_even_empty_ones() -> None:
    label = Column.of(np.array([1.0, 0.0, 1.0]), np.array([0.3, 0.1, 0.2]))
    weights = np.array([[1, 0], [2, 1], [4, 1]])
    assert label.sums(label.p, np.array([0, 1, 1]), weights).tolist() == [[0.2, 0.1], [0.0, 0.0], [0.2 * 4 + 0.3, 0.2]]


def test_an_empty_column_has_no_groups() -> None:
    label = Column.of(np.array([np.nan]), np.array([0.5]))
    assert (len(label.p), len(label.starts)) == (0, 0)


def test_a_column_is_sorted_once(make) -> None:
    scores = make("binary", [0, 1], [0.2, 0.6])
    assert column(scores, 1) is column(scores, 1)
    assert column(scores, 0) is not column(scores, 1)
