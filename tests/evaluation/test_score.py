"""From predictions to results: arms, paired differences, decisions and where every sample went."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from medmm.errors import LeakageError, PredictionsError, TaskError
from medmm.evaluation.predictions import Decided, Predictions
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.store import Record

BINARY = ("no", "yes")
MEASURED = ["accuracy", "auroc", "f1", "f1_weighted", "sensitivity", "brier", "log_loss", "ece", "cal_slope"]
"""Enough to see; the slow ones have tests of their own."""


def records(y, p, arm="full", split="", patients=None, called=None):
    """Binary rows; a label of None is unknown."""
    return [
        Record(
            f"s{i}", f"p{i if patients is None else patients[i]}", i, arm, split,
            target=(None, None) if y[i] is None else (1.0 - y[i], float(y[i])),
            probability=(1 - p[i], p[i]), called=() if called is None else (called[i],),
        )
        for i in range(len(y))
    ]  # fmt: skip


def predictions(*groups, **more):
    return Predictions("binary", BINARY, tuple(r for group in groups for r in group), {"type": "test"}, **more)


def task(**more):
    return Task(name="t", **({"intervals": {"replicates": 200, "dear_replicates": 50}, "metrics": MEASURED} | more))


Y = [0, 0, 0, 1, 1, 0, 1, 0]
P = [0.1, 0.4, 0.35, 0.8, 0.3, 0.6, 0.9, 0.2]
WORSE = [0.4, 0.5, 0.45, 0.6, 0.3, 0.7, 0.5, 0.4]


def test_every_arm_is_measured_and_the_class_frequencies_beside_them() -> None:
    results = score(predictions(records(Y, P), records(Y, WORSE, "text"), records(Y, WORSE, "image")), task())
    assert [a.name for a in results.arms] == ["full", "image", "text", "prevalence"]
    for arm, p in zip(results.arms, (P, WORSE, WORSE, [3 / 8] * 8), strict=True):
        assert arm.metrics["auroc"].value == pytest.approx(sk.roc_auc_score(Y, p), rel=0, abs=1e-12)
        assert arm.metrics["log_loss"].value == pytest.approx(sk.log_loss(Y, p), rel=0, abs=1e-12)
        assert (arm.n, arm.patients, arm.positives) == (8, 8, {"no": 5, "yes": 3})


def test_the_prevalence_arm_uses_the_training_data_where_they_are_known() -> None:
    results = score(predictions(records(Y, P), prevalence=(0.9, 0.1)), task())
    assert results.arms[-1].metrics["brier"].value == pytest.approx(sk.brier_score_loss(Y, [0.1] * 8))
    assert "training data" in results.arms[-1].what
    assert not any("training data are not known" in note for note in results.notes)


def test_the_interval_of_a_paired_difference_is_that_of_two_patients_worked_out_by_hand() -> None:
    # Squared errors: patient 0 (two scans) 0.04 against 0.09, patient 1 0.01 against 0.36. Draws: only 0, both, only 1.
    y, patients = [0, 0, 1], [0, 0, 1]
    good, bad = records(y, [0.2, 0.2, 0.9], patients=patients), records(y, [0.3, 0.3, 0.4], "text", patients=patients)
    (found,) = [c for c in score(predictions(good, bad), task()).comparisons if (c.second, c.metric) == ("text", "brier")]
    assert found.n == 3
    assert found.difference == pytest.approx((2 * (0.04 - 0.09) + (0.01 - 0.36)) / 3)
    assert [found.low, found.high] == pytest.approx([0.01 - 0.36, 0.04 - 0.09])
    assert found.excludes_zero is True


def test_a_difference_compares_only_the_samples_both_arms_answered() -> None:
    results = score(predictions(records(Y, P), records(Y, WORSE, "image")[2:]), task())
    (found,) = [c for c in results.comparisons if (c.second, c.metric) == ("image", "log_loss")]
    assert found.n == 6
    assert found.difference == pytest.approx(sk.log_loss(Y[2:], P[2:]) - sk.log_loss(Y[2:], WORSE[2:]))


def test_an_arm_does_not_differ_from_its_copy() -> None:
    for found in score(predictions(records(Y, P), records(Y, P, "copy")), task()).comparisons:
        if found.second == "copy":
            assert (found.difference, found.low, found.high, found.excludes_zero) == (0, 0, 0, False)


def test_intervals_resample_patients() -> None:
    """Four copies of every sample, as scans of one patient, tell no more than one."""
    y, p = [0, 1, 0, 1, 1] * 8, list(np.random.default_rng(0).random(40))
    once = score(predictions(records(y, p)), task()).arms[0].metrics
    scans = np.repeat(range(40), 4)
    four = score(predictions(records([y[i] for i in scans], [p[i] for i in scans], patients=scans)), task()).arms[0]
    assert (four.n, four.patients) == (160, 40)
    for name in ("auroc", "brier", "f1_macro"):
        assert [four.metrics[name].low, four.metrics[name].high] == pytest.approx([once[name].low, once[name].high])


def test_every_sample_is_accounted_for() -> None:
    rows = records([*Y, None], [*P, 0.5])
    rows[0] = replace(rows[0], code="E_MISSING_SLICES", probability=())
    rows[1] = replace(rows[1], code="E_NO_IMAGE", probability=())
    results = score(predictions(rows), task())
    assert results.counts.model_dump(exclude={"labels"}) == {
        "total": 9, "scored": 6, "failed": 2, "unlabelled": 1, "patients": 6,
        "failures": {"E_MISSING_SLICES": 1, "E_NO_IMAGE": 1},
    }  # fmt: skip
    assert [(f.sample_id, f.code) for f in results.failed] == [("s0", "E_MISSING_SLICES"), ("s1", "E_NO_IMAGE")]
    assert results.arms[0].metrics["brier"].value == pytest.approx(sk.brier_score_loss(Y[2:], P[2:]))


def test_only_the_split_of_the_task_is_scored() -> None:
    other = [replace(r, sample_id="v" + r.sample_id, patient_id="v" + r.patient_id, split="val") for r in records(Y, WORSE)]
    results = score(predictions(records(Y, P, split="test"), other), task())
    assert (results.split, results.counts.total) == ("test", 8)
    assert score(predictions(records(Y, P)), task()).split == "all"


TUNED = {"thresholds": {"policy": "max_f1_macro", "split": "val"}}
TUNING = [
    replace(r, sample_id="v" + r.sample_id, patient_id="v" + r.patient_id) for r in records([0, 0, 1], [0.5, 0.7, 0.8], split="val")
]


def test_thresholds_are_chosen_on_their_split_whatever_is_scored() -> None:
    for y in (Y, [1 - v for v in Y]):
        decision = score(predictions(records(y, P, split="test"), TUNING), task(**TUNED)).arms[0].decision
        assert decision.thresholds == pytest.approx((0.75,))
        assert (decision.policy, decision.split) == ("max_f1_macro", "val")
        assert decision.confusion == (tuple(map(tuple, sk.confusion_matrix(y, np.array(P) >= 0.75).tolist())),)


def test_thresholds_chosen_on_scored_patients_are_refused() -> None:
    leaked = [*TUNING[:2], replace(TUNING[2], patient_id="p3")]
    with pytest.raises(LeakageError, match="test and val share 1 patients"):
        score(predictions(records(Y, P, split="test"), leaked), task(**TUNED))


def test_thresholds_from_a_split_that_is_not_there_are_refused() -> None:
    with pytest.raises(TaskError, match="'val'"):
        score(predictions(records(Y, P, split="test")), task(**TUNED))


def test_decisions_come_from_where_the_results_say() -> None:
    called = ["yes", *["no"] * 7]
    stated = predictions(records(Y, P, called=called), decided={"full": Decided("max_f1_macro", "val", (0.1,))})
    decision = score(stated, task()).arms[0].decision
    assert (decision.policy, decision.split, decision.thresholds) == ("max_f1_macro", "val", (0.1,))
    assert decision.confusion == (((4, 1), (3, 0)),)
    fixed = score(stated, task(thresholds={"policy": "fixed", "value": 0.35})).arms[0].decision
    assert (fixed.policy, fixed.split, fixed.thresholds) == ("fixed", "none: not fitted to data", (0.35,))
    assert fixed.confusion == (tuple(map(tuple, sk.confusion_matrix(Y, np.array(P) >= 0.35).tolist())),)


def test_predictions_without_decisions_say_so() -> None:
    results = score(predictions(records(Y, P)), task())
    assert results.arms[0].decision.thresholds == (0.5,)
    assert any("fixed threshold of 0.5." in note for note in results.notes)


@pytest.mark.parametrize("n", [8, 400])
def test_the_roc_curve_is_that_of_scikit_learn(n) -> None:
    rng = np.random.default_rng(0)
    y, p = (Y, P) if n == 8 else ((rng.random(n) < 0.4).astype(int).tolist(), rng.random(n).round(2).tolist())
    fpr, tpr, _ = sk.roc_curve(y, p, drop_intermediate=False)
    found = score(predictions(records(y, p)), task()).arms[0].curves["yes"].roc
    assert np.array(found) == pytest.approx(np.stack([fpr, tpr], axis=1), abs=1e-5)


def test_what_cannot_be_measured_is_null_with_a_reason() -> None:
    results = score(predictions(records([0, 0, 0], [0.1, 0.2, 0.3])), task())
    for name, value in results.arms[0].metrics.items():
        assert (value.value is None) is (value.reason is not None), name
    assert results.arms[0].metrics["auroc"].reason == "needs both classes among the samples"
    assert results.arms[0].curves["yes"].roc == ()
    found = {c.metric: c for c in results.comparisons}
    assert (found["auroc"].difference, found["auroc"].low, found["auroc"].excludes_zero) == (None, None, None)


def test_a_metric_that_most_replicates_lack_has_no_interval() -> None:
    slope = score(predictions(records([0, 1, 0], [0.3, 0.4, 0.5])), task()).arms[0].metrics["cal_slope"]
    assert slope.value is not None
    assert (slope.low, slope.high) == (None, None)
    assert slope.defined == pytest.approx(200 * 6 / 27, abs=25)  # exists where all three are drawn


def test_multilabel_results_leave_out_what_is_unknown() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((60, 3))
    y = [[None if k == 2 or u < 0.2 else float(u < 0.6) for k, u in enumerate(row)] for row in rng.random((60, 3))]
    rows = tuple(Record(f"s{i}", f"p{i}", i, "full", target=tuple(y[i]), probability=tuple(p[i])) for i in range(60))
    results = score(Predictions("multilabel", ("a", "b", "never"), rows, {}), task())
    full = results.arms[0]
    for k, label in enumerate("ab"):
        known = [i for i in range(60) if y[i][k] is not None]
        expected = sk.roc_auc_score([y[i][k] for i in known], p[known, k])
        assert full.metrics[f"auroc[{label}]"].value == pytest.approx(expected, rel=0, abs=1e-12)
        table = sk.confusion_matrix([y[i][k] for i in known], p[known, k] >= 0.5).tolist()
        assert full.decision.confusion[k] == tuple(map(tuple, table))
    assert full.metrics["auroc[never]"].value is None
    assert full.calibration["never"].calibrated is None
    assert full.positives["never"] == 0


def test_readers_are_told_what_weakens_the_numbers() -> None:
    notes = " ".join(score(predictions(records(Y, P, patients=[0, 0, 1, 2, 3, 4, 5, 6])), task()).notes)
    for said in ("Fewer than 20 samples of: no (5), yes (3)", "8 samples of 7 patients", "class frequencies of the training data"):
        assert said in notes
    common = " ".join(score(predictions(records([0] * 9 + [1], [0.1] * 10)), task()).notes)
    assert "weighted F1 of 0.853" in common


@pytest.mark.parametrize(
    "rows",
    [[], records([None], [0.5]), records(Y, P, split="val"), records(Y, P, "image")],
    ids=["nothing", "no label", "other split", "no full arm"],
)
def test_nothing_to_score_is_refused(rows) -> None:
    with pytest.raises(PredictionsError, match="Expected labelled predictions in the split 'test'"):
        score(predictions(rows), task())


def test_classical_tests_of_calibration_stand_beside_the_verdict_and_are_null_where_undefined() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, 200)
    y = (rng.random(200) < p).astype(float)
    arms = {a.name: a for a in score(predictions(records(y, p)), task(metrics=["spiegelhalter_z"])).arms}
    found = arms["full"].calibration["yes"].tests
    z = ((y - p) * (1 - 2 * p)).sum() / np.sqrt(((1 - 2 * p) ** 2 * p * (1 - p)).sum())
    assert (found["spiegelhalter"].statistic, found["spiegelhalter"].degrees) == (pytest.approx(z), None)
    assert found["spiegelhalter"].p_value == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert found["unreliability"].p_value == pytest.approx(stats.chi2.sf(found["unreliability"].statistic, 2))
    assert found["hosmer_lemeshow[10]"].degrees == 10
    assert arms["prevalence"].calibration["yes"].tests["unreliability"] is None


def test_a_single_sample_can_be_scored() -> None:
    assert score(predictions(records([1], [0.7])), task()).arms[0].metrics["brier"].value == pytest.approx(0.09)


def test_failures_as_wrong_answers_are_counted_in_every_metric_of_decisions() -> None:
    rows = records(Y, P)
    rows[0], rows[3] = (replace(rows[i], code="E_CORRUPT", probability=(), called=()) for i in (0, 3))
    found = score(predictions(rows), task()).failures_as_wrong
    answers = [v >= 0.5 for v in P]
    answers[0], answers[3] = True, False  # wrong whatever they would have been
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(Y, answers))
    assert found["f1_macro"].value == pytest.approx(sk.f1_score(Y, answers, average="macro"))
    assert found["sensitivity[yes]"].value == pytest.approx(sk.recall_score(Y, answers))
    assert "auroc" not in found
    assert score(predictions(records(Y, P)), task()).failures_as_wrong == {}


def test_a_failure_of_several_labels_is_wrong_in_each_known_one() -> None:
    rows = [
        Record("a", "p1", 0, "full", target=(1.0, 0.0), probability=(0.9, 0.1)),
        Record("b", "p2", 1, "full", target=(0.0, 1.0), probability=(0.2, 0.7)),
        Record("c", "p3", 2, "full", target=(1.0, None), code="E_CORRUPT"),
    ]
    found = score(Predictions("multilabel", ("u", "v"), tuple(rows), {}), task()).failures_as_wrong
    assert found["accuracy"].value == pytest.approx(4 / 5)
    assert found["f1[u]"].value == pytest.approx(2 / 3)
    assert found["f1[v]"].value == 1


def test_the_most_confident_mistakes_come_first() -> None:
    found = score(predictions(records(Y, P)), task()).worst
    assert [(w.sample_id, w.truth, w.called) for w in found] == [("s4", "yes", "no"), ("s5", "no", "yes")]
    assert [w.probability for w in found] == pytest.approx([0.7, 0.6])
    rows = (
        Record("a", "p", 0, "full", target=(1.0, 0.0), probability=(0.2, 0.6)),
        Record("b", "q", 1, "full", target=(0.0, None), probability=(0.9, 0.9)),
    )
    worst = score(Predictions("multilabel", ("u", "v"), rows, {}), task()).worst
    assert [(w.sample_id, w.truth, w.called, w.probability) for w in worst] == [
        ("b", "no u", "u", 0.9), ("a", "u", "no u", pytest.approx(0.8)), ("a", "no v", "v", 0.6)
    ]  # fmt: skip


def test_labels_are_counted_as_they_came_uncertain_ones_too() -> None:
    rows = [
        Record(f"s{i}", f"p{i}", i, "full", target=(t, 1.0), probability=(0.5, 0.5))
        for i, t in enumerate((1.0, 0.0, 0.0, -1.0, None))
    ]
    counts = score(Predictions("multilabel", ("u", "v"), tuple(rows), {}), task(uncertain="negative")).counts.labels
    assert counts["u"].model_dump() == {"positive": 1, "negative": 2, "uncertain": 1, "unknown": 1}
    ignored = score(Predictions("multilabel", ("u", "v"), tuple(rows), {}), task()).arms[0]
    assert ignored.positives == {"u": 1, "v": 5}


def test_the_sides_of_a_split_are_described_in_the_columns_the_task_names() -> None:
    def side(split, sexes, ages):
        cells = [{"sex": s, "age": a, "note": "secret"} for s, a in zip(sexes, ages, strict=True)]
        return [
            replace(r, sample_id=split + r.sample_id, patient_id=split + r.patient_id, split=split, columns=c)
            for r, c in zip(records(Y, P), cells, strict=True)
        ]

    given = [*side("test", "ffffmmmx", "12345678"), *side("train", ["f"] * 7 + [""], ["40"] * 4 + ["60"] * 4)]
    results = score(predictions(given), task(subgroups={"columns": ["sex", {"column": "age", "bands": [5]}]}))
    sex, age = results.characteristics
    assert sex.by_split["test"] == {"f": 4 / 8, "m": 3 / 8, "x": 1 / 8}
    assert (sex.by_split["train"], sex.missing) == ({"f": 1.0}, {"test": 0, "train": 1})
    assert age.by_split["test"] == {"q1": 2.75, "median": 4.5, "q3": 6.25}
    assert age.by_split["train"] == {"q1": 40, "median": 50, "q3": 60}
    assert "secret" not in results.to_json()


def test_ablations_choose_the_arms() -> None:
    given = predictions(records(Y, P), records(Y, WORSE, "image"), records(Y, WORSE, "text"))
    assert [a.name for a in score(given, task(ablations=["text"])).arms] == ["full", "text", "prevalence"]


def test_chosen_metrics_are_all_that_is_measured_and_a_wrong_name_has_a_nearest() -> None:
    results = score(predictions(records(Y, P)), task(metrics=["auroc", "ece"]))
    assert set(results.arms[0].metrics) >= {"auroc", "ece[equal_width,15]"}
    assert "brier" not in results.arms[0].metrics
    with pytest.raises(TaskError, match="Did you mean auroc"):
        score(predictions(records(Y, P)), task(metrics=["aurok"]))


def test_predictive_values_follow_the_prevalence_the_task_states() -> None:
    rows = [*records(Y, P), replace(records([1], [0.5])[0], sample_id="failed", code="E_CORRUPT", probability=())]
    found = score(predictions(rows), task(prevalence={"yes": 0.01}, metrics=["precision_at_prevalence", "accuracy"]))
    sensitivity, specificity = 2 / 3, 4 / 5
    ppv = sensitivity * 0.01 / (sensitivity * 0.01 + (1 - specificity) * 0.99)
    assert found.arms[0].metrics["precision_at_prevalence[yes,0.01]"].value == pytest.approx(ppv)
    assert found.failures_as_wrong["precision_at_prevalence[yes,0.01]"].value < ppv
    with pytest.raises(TaskError, match="State all"):
        score(predictions(records(Y, P)), task(prevalence={"no": 0.5}))
