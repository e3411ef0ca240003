"""Sentences: each says what the numbers say and no more."""

from __future__ import annotations

import pytest

from medmm.report.verdict import verdict, verdict_on_runs
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
    assert sum(tone != "beware" for tone in tones(results).values()) == 9


@pytest.mark.parametrize(
    ("low", "high", "tone"), [(0.01, 0.2, "good"), (-0.2, -0.01, "bad"), (-0.1, 0.1, "open"), (None, None, "open")]
)
def test_a_difference_counts_only_where_its_interval_excludes_zero(results_of, low, high, tone) -> None:
    found = Comparison(first="full", second="text", metric="auroc", n=9, difference=0.05, low=low, high=high, excludes_zero=None)
    assert tone_of(results_of().model_copy(update={"comparisons": (found,)}), "text alone") == tone


def test_what_to_know_before_believing_comes_last(results_of) -> None:
    results = results_of()
    assert [s.text for s in verdict(results) if s.tone == "beware"] == list(results.notes) != []


def test_many_labels_share_a_sentence(results_of) -> None:
    many = results_of("multilabel", 60, labels=tuple("abcdefg"))
    said = [s.text for s in verdict(many) if "of 7 labels" in s.text]
    judged = [label for text in said for label in text.split(": ", 1)[1].rstrip(".").split(", ")]
    assert sorted(judged) == sorted(many.labels)
    assert tone_of(many, "cannot be vouched for") == "open"


def test_a_pair_tested_in_several_ways_is_spoken_of_once(results_of) -> None:
    results = results_of()
    tested = [c.test for c in results.comparisons if c.second == "image" and c.metric == "auroc"]
    assert len(tested) > 1
    assert len([s for s in verdict(results) if "image alone" in s.text]) == 1


def test_the_widest_gap_is_told_and_those_too_small_to_show(rich_of) -> None:
    results = rich_of()
    assert tone_of(results, "In the subgroup sex = F the auroc is lowest, 0.130 [0.080, 0.180] below M") == "bad"
    assert tone_of(results, "With inputs image the auroc is lowest") == "bad"
    assert tone_of(results, "1 of 8 subgroups are too small") == "open"
    chance = results.gaps[0].model_copy(update={"gap": Value(value=0.1, low=-0.1, high=0.3, better="target")})
    assert tone_of(results.model_copy(update={"gaps": (chance,)}), "that may be chance") == "open"


@pytest.mark.parametrize(("helped", "tone"), [(True, "good"), (False, "bad"), (None, "open")])
def test_recalibration_is_praised_only_where_it_helped(rich_of, helped, tone) -> None:
    results = rich_of()
    found = results.recalibration[0].model_copy(update={"helped": helped, "applied": False})
    assert tone_of(results.model_copy(update={"recalibration": (found,)}), "The numbers here are without it") == tone


@pytest.mark.parametrize(("low", "tone"), [(0.6, "good"), (0.4, "open"), (None, "open")])
def test_what_to_expect_at_another_site(rich_of, low, tone) -> None:
    results = rich_of()
    found = results.heterogeneity[0].model_copy(update={"prediction_low": low})
    assert tone_of(results.model_copy(update={"heterogeneity": (found,)}), "another site") == tone


def test_a_broken_promise_of_prediction_sets_is_told(rich_of) -> None:
    results = rich_of()
    assert tone_of(results, "the promise is BROKEN") == "bad"
    assert tone_of(results, "Prediction sets (split) promised to hold the truth in 0.9 of cases do so in 0.910") == "good"


def test_that_nobody_is_on_two_sides_is_told_only_where_it_was_counted(rich_of, results_of) -> None:
    results = rich_of()
    assert tone_of(results, "No patient nor any image stands on two sides of the split") == "good"
    patients = tuple(o.model_copy(update={"images": None}) for o in results.partition.overlaps)
    shared = (patients[0].model_copy(update={"patients": 1}),)
    for overlaps, words, tone in (
        (patients, "Images were not compared", "good"),
        (shared, "LEAKAGE", "bad"),
        ((), "not shown", "open"),
    ):
        proof = results.partition.model_copy(update={"overlaps": overlaps})
        assert tone_of(results.model_copy(update={"partition": proof}), words) == tone
    assert tone_of(results.model_copy(update={"partition": None}), "That no patient was used both to fit and to score") == "open"


def test_of_two_runs_each_metric_gets_its_sentence(runs_compared) -> None:
    said = {s.text: s.tone for s in verdict_on_runs(runs_compared)}
    assert said == {
        "ours is better than theirs in auroc (+0.100 [+0.020, +0.200], p = 0.02, n = 149).": "good",
        "No difference between ours and theirs is shown in brier (+0.010 [-0.020, +0.040], p = 0.4, n = 149).": "open",
        "ours is at most 0.02 worse than theirs in f1_macro (-0.010 [-0.015, +0.040], p < 0.001, n = 149).": "good",
        "ours is WORSE than theirs in log_loss (+0.110 [+0.020, +0.200], n = 149).": "bad",
        "A note.": "beware",
    }
