"""What scores accept, refuse and decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medmm.errors import NonFiniteError, PredictionsError
from medmm.metrics import Scores, decide


@pytest.mark.parametrize(
    ("p", "error"),
    [(np.nan, NonFiniteError), (np.inf, NonFiniteError), (-0.01, PredictionsError), (1.01, PredictionsError)],
)
def test_values_that_are_no_probabilities_are_refused(make, p, error) -> None:
    with pytest.raises(error):
        make("multilabel", [[1.0]], [[p]])


def test_probabilities_that_do_not_sum_to_one_are_refused_unless_multilabel(make) -> None:
    with pytest.raises(PredictionsError, match="sum to 1"):
        make("multiclass", [0], [[0.5, 0.4, 0.2]])
    assert len(make("multilabel", [[1, 0, 1]], [[0.5, 0.4, 0.2]])) == 1


@pytest.mark.parametrize("broken", ["target", "called", "cluster", "labels"])
def test_arrays_of_other_shapes_are_refused(broken) -> None:
    parts = {"target": np.eye(2), "called": np.eye(2) > 0, "cluster": np.arange(2), "labels": ("a", "b")}
    parts[broken] = ("a", "b", "c") if broken == "labels" else parts[broken][:1]
    with pytest.raises(PredictionsError):
        Scores("binary", parts["labels"], parts["target"], np.eye(2), parts["called"], parts["cluster"])


def test_a_binary_decision_is_positive_from_the_threshold_on() -> None:
    p = np.array([[0.7, 0.3], [0.6, 0.4], [0.1, 0.9]])
    assert decide("binary", p, np.array([0.4]))[:, 1].tolist() == [False, True, True]
    assert decide("binary", p)[:, 1].tolist() == [False, False, True]
    assert (decide("binary", p).sum(1) == 1).all()


def test_a_multiclass_decision_is_the_most_probable_class() -> None:
    assert decide("multiclass", np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])).tolist() == [
        [False, True, False],
        [True, False, False],
    ]


def test_a_multilabel_decision_holds_each_label_to_its_own_threshold() -> None:
    p = np.array([[0.3, 0.3], [0.8, 0.1]])
    assert decide("multilabel", p, np.array([0.5, 0.2])).tolist() == [[False, True], [True, False]]


def test_a_subset_keeps_rows_together(make) -> None:
    scores = make("multiclass", [0, 1, 2], np.eye(3), cluster=[7, 8, 9]).take([2, 0])
    assert scores.target.argmax(1).tolist() == scores.probability.argmax(1).tolist() == scores.called.argmax(1).tolist() == [2, 0]
    assert scores.cluster.tolist() == [9, 7]


def test_what_does_not_depend_on_weights_is_made_once_and_not_for_another_subset(make) -> None:
    scores, made = make("binary", [0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]), []
    assert [scores.cached("a", lambda: made.append(1) or len(made)) for _ in range(3)] == [1, 1, 1]
    assert scores.take([0, 1]).cached("a", lambda: "new") == "new"
    assert replace(scores, called=~scores.called).cached("a", lambda: "new") == "new"


def test_a_prevalence_fits_the_labels_and_stays_with_a_subset(make) -> None:
    scores = replace(make("binary", [0, 1], [0.1, 0.2]), prevalence=(0.9, 0.1))
    assert scores.take([1]).prevalence == (0.9, 0.1)
    for wrong in ((0.1,), (0.5, 1.5), (0.5, float("nan"))):
        with pytest.raises(PredictionsError, match="prevalence"):
            replace(scores, prevalence=wrong)
