"""No reference value is left out: each leaf of the file has a test that holds our value against it, or a reason."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medmm.metrics import point
from medmm.metrics.delong import delong
from medmm.metrics.proportions import clopper_pearson_interval
from medmm.metrics.thresholds import best_threshold

HELD = {
    "syn_roc/*/auc": "test_delong::test_area_variance_and_interval_equal_r_proc",
    "syn_roc/*/delong_var": "test_delong::test_area_variance_and_interval_equal_r_proc",
    "syn_roc/*/ci95": "test_delong::test_area_variance_and_interval_equal_r_proc",
    "syn_roc/*/n_c*": "test_references::test_youdens_threshold_and_its_rates_equal_r_proc",
    "syn_roc/*/youden/*": "test_references::test_youdens_threshold_and_its_rates_equal_r_proc",
    "syn_roc/*/partial_auc*": "test_operating::test_the_partial_area_equals_r_proc",
    "syn_roc/test_*": "test_delong::test_the_paired_test_equals_r_proc",
    "val_prob/*/*": "test_val_prob::test_every_number_equals_rms",
    "cox/*/intercept": "test_cox::test_slope_intercept_and_in_the_large_equal_r",
    "cox/*/slope": "test_cox::test_slope_intercept_and_in_the_large_equal_r",
    "cox/*/citl": "test_cox::test_slope_intercept_and_in_the_large_equal_r",
    "cox/*_se": "test_cox_inference::test_errors_and_wald_intervals_equal_r_once_its_early_stop_is_followed",
    "cox/*_wald_ci": "test_cox_inference::test_errors_and_wald_intervals_equal_r_once_its_early_stop_is_followed",
    "cox/*_profile_ci": "test_cox_inference::test_profile_intervals_are_where_the_likelihood_ratio_rejects_and_near_r",
    "cox/*/LR_*": "test_cox_inference::test_the_likelihood_ratio_test_equals_r",
    "ici/*": "test_curves::test_distances_equal_r",
    "isoreg_p1_mean_abs": "test_curves::test_the_mean_distance_of_the_isotonic_step_equals_isoreg_of_r",
    "hosmer_lemeshow/*/chi2": "test_calibration::test_classical_tests_equal_r",
    "hosmer_lemeshow/*_ext": "test_calibration::test_classical_tests_equal_r",
    "corp_brier/*/[bMDU]*": "test_proper::test_the_parts_of_the_brier_score_equal_r",
    "murphy_p3/*": "test_proper::test_the_parts_by_distinct_probabilities_equal_r",
    "ece_*": "test_binned::test_errors_in_bins_equal_r",
    "mcnemar/*": "test_comparison::test_mcnemar_equals_r",
    "epi_tests_p1_thr0.5/detail/*": "test_references::test_the_table_of_epir_follows_from_its_counts",
    "epi_tests_p1_thr0.5/[!d]*": "test_classification::test_rates_at_a_threshold_equal_r_epir",
    "prop_ci/*": "test_proportions::test_intervals_equal_r",
    "multiclass/hand_till_auc": "test_ranking::test_hand_till_equals_r_proc",
    "multiclass/ovr_auc": "test_classification::test_one_against_rest_auroc_equals_r_proc",
    "multiclass/[bl]*": "test_proper::test_multiclass_scores_equal_r",
    "p_adjust/*": "test_comparison::test_adjusted_p_values_equal_r",
    "net_benefit/*": "test_decision_curve::test_net_benefit_equals_r",
    "concordance_survival/c_p1": "test_references::test_the_concordance_of_survival_is_the_area",
}

LEFT_OUT = {
    "hosmer_lemeshow/*_dev": "the p value for samples the model was fitted on, which are never measured here",
    "corp_brier/*/n_blocks": "how many steps the isotonic fit has is no property of a model",
}

INTERVALS_LEFT_OUT = {"diag.or", "lr.pos", "lr.neg"}
"""Of ratios: log-normal in R, by bootstrap of patients here."""


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Paths to all numbers and lists of numbers."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}/{key}" if path else key)
    elif isinstance(value, list) and isinstance(value[0], dict):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{path}/{place}")
    else:
        yield path


def test_every_reference_value_has_its_test_or_a_reason(refs) -> None:
    every = list(leaves(refs["results"]))
    patterns = [*HELD, *LEFT_OUT]
    assert [leaf for leaf in every if not any(fnmatchcase(leaf, p) for p in patterns)] == []
    assert [p for p in patterns if not any(fnmatchcase(leaf, p) for leaf in every)] == []


@pytest.mark.parametrize("test", sorted(set(HELD.values())))
def test_the_tests_named_here_exist(test) -> None:
    module, name = test.split("::")
    assert f"def {name}(" in (Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8")


def test_both_files_of_references_say_the_same(refs, inference_refs) -> None:
    results = refs["results"]
    assert inference_refs["roc"] == results["syn_roc"]
    assert inference_refs["mcnemar"] == results["mcnemar"]
    assert inference_refs["proportions"] == results["prop_ci"]
    assert inference_refs["hand_till_auc"] == results["multiclass"]["hand_till_auc"]
    rows = {r["statistic"]: [r["est"], r["lower"], r["upper"]] for r in results["epi_tests_p1_thr0.5"]["detail"]}
    assert inference_refs["table_p1_at_0.5"] == rows


@pytest.mark.parametrize(("name", "key"), [("p1", "p1"), ("p2", "p2"), ("p3", "p3_ties")])
def test_youdens_threshold_and_its_rates_equal_r_proc(refs, name, key) -> None:
    y, p = (np.array(refs["data_synthetic"][n], dtype=float) for n in ("y", name))
    theirs, rows = refs["results"]["syn_roc"][key]["youden"], refs["results"]["syn_roc"][key]
    threshold = best_threshold(y, p, "youden")
    assert threshold == pytest.approx(theirs["threshold"], abs=1e-12)
    called = p >= threshold
    tp, fp, tn, fn = ((called == c) & (y == t) for c, t in ((1, 1), (1, 0), (0, 0), (0, 1)))
    counts = dict(zip(("tp", "fp", "tn", "fn"), (int(v.sum()) for v in (tp, fp, tn, fn)), strict=True))
    assert counts == {k: theirs[k] for k in counts}
    assert (counts["tp"] + counts["fn"], counts["fp"] + counts["tn"]) == (rows["n_cases"], rows["n_controls"])
    parts = {"sensitivity": ("tp", "fn"), "specificity": ("tn", "fp"), "ppv": ("tp", "fp"), "npv": ("tn", "fn")}
    for rate, (hit, miss) in parts.items():
        assert counts[hit] / (counts[hit] + counts[miss]) == pytest.approx(theirs[rate], abs=1e-12)


def test_the_table_of_epir_follows_from_its_counts(reference, refs) -> None:
    table = refs["results"]["epi_tests_p1_thr0.5"]
    rows = {r["statistic"]: [r["est"], r["lower"], r["upper"]] for r in table["detail"]}
    tp, fp, fn, tn = (table[k] for k in ("tp", "fp", "fn", "tn"))
    shares = {
        "ap": (tp + fp, 400),
        "p.rin": (tp + fp, 400),
        "p.rout": (fn + tn, 400),
        "tp": (tp + fn, 400),
        "se": (tp, tp + fn),
        "sp": (tn, tn + fp),
        "diag.ac": (tp + tn, 400),
        "pv.pos": (tp, tp + fp),
        "pv.neg": (tn, tn + fn),
        "p.tpdn": (fp, fp + tn),
        "p.tndp": (fn, tp + fn),
        "p.dntp": (fp, tp + fp),
        "p.dptn": (fn, tn + fn),
    }
    for name, (hits, n) in shares.items():
        assert [hits / n, *clopper_pearson_interval(hits, n)] == pytest.approx(rows[name], rel=0, abs=1e-8), name
    ours = {"youden": "youden", "lr_positive": "lr.pos", "lr_negative": "lr.neg", "dor": "diag.or"}
    for metric, name in ours.items():
        assert point(f"{metric}[b]", reference("p1")) == pytest.approx(rows[name][0], rel=1e-12), name
    gain = np.array(rows["se"]) + np.array(rows["sp"]) - 1
    assert gain == pytest.approx(rows["youden"], abs=1e-12)
    assert 1 / gain[[0, 2, 1]] == pytest.approx(rows["nndx"], abs=1e-9)
    assert set(rows) == {*shares, "youden", "nndx"} | INTERVALS_LEFT_OUT


def test_the_concordance_of_survival_is_the_area(refs) -> None:
    y, p = (np.array(refs["data_synthetic"][n], dtype=float) for n in ("y", "p1"))
    assert delong(y, p[:, None]).area[0] == pytest.approx(refs["results"]["concordance_survival"]["c_p1"], rel=0, abs=1e-12)
