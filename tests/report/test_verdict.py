"""Sentences: each says what the numbers say and no more."""

from __future__ import annotations

import pytest

from medmm.report.verdict import headline_metrics, number, verdict
from medmm.results import Comparison, Value


def tones(results) -> dict[str, str]:
    """First words of each sentence to its tone."""
    return {sentence.text: sentence.tone for sentence in verdict(results)}


def tone_of(results, words) -> str:
    (tone,) = [tone for text, tone in tones(results).items() if words in text]
    return tone


def test_a_good_model_is_said_to_be_good(results_of) -> None:
    results = results_of(n=600)
    assert tone_of(results, "separates the classes with an AUROC of") == "good"
    assert tone_of(results, "probabilities of b are compatible with being calibrated") == "good"
    assert tone_of(results, "better than giving everybody the class frequencies") == "good"
    assert tone_of(results, "Using everything is better than image alone") == "good"


def test_an_overconfident_model_is_said_to_be_miscalibrated(results_of) -> None:
    assert tone_of(results_of(n=600, distort=3), "MISCALIBRATED (p < 0.001; error") == "bad"


def test_few_samples_do_not_vouch_for_calibration(results_of) -> None:
    assert tone_of(results_of(n=30), "no sign of error, but so few samples could hide one") == "open"


def test_a_model_that_says_the_opposite_is_said_to_be_worse(results_of) -> None:
    results = results_of(n=600, distort=-1)
    for words in ("WORSE than chance", "WORSE than giving everybody", "WORSE than image alone"):
        assert tone_of(results, words) == "bad"


def test_what_cannot_be_told_is_left_open(results_of) -> None:
    results = results_of(n=12, one_class=True)
    assert tone_of(results, "cannot be told from 11 samples") == "open"
    assert tone_of(results, "cannot be compared with image alone") == "open"


def test_every_label_of_a_multilabel_task_is_judged(results_of) -> None:
    results = results_of("multilabel", labels=("a", "b", "c", "always", "unknown"))
    assert tone_of(results, "Calibration of unknown cannot be judged") == "open"
    assert tone_of(results, "probabilities of always are MISCALIBRATED") == "bad"
    assert len(tones(results)) == 8


@pytest.mark.parametrize(
    ("low", "high", "tone"), [(0.01, 0.2, "good"), (-0.2, -0.01, "bad"), (-0.1, 0.1, "open"), (None, None, "open")]
)
def test_a_difference_counts_only_where_its_interval_excludes_zero(results_of, low, high, tone) -> None:
    found = Comparison(first="full", second="text", metric="auroc", n=9, difference=0.05, low=low, high=high, excludes_zero=None)
    assert tone_of(results_of().model_copy(update={"comparisons": (found,)}), "text alone") == tone


def test_numbers_come_with_their_interval_or_not_at_all() -> None:
    assert number(Value(value=0.12345, low=0.1, high=0.2, better="lower")) == "0.123 [0.100, 0.200]"
    assert number(Value(value=0.12345, better="lower"), 4) == "0.1235"
    assert number(Value(value=None, reason="x", better="lower")) == number(None) == "undefined"


def test_headlines_are_macro_where_there_are_several_classes(results_of) -> None:
    assert headline_metrics(results_of().arms[0]) == ["auroc", "f1_macro", "auprc", "brier", "log_loss"]
    assert headline_metrics(results_of("multiclass").arms[0])[::2] == ["auroc_macro", "auprc_macro", "log_loss"]
