"""The committed comparisons: table and figure are those of the numbers beside them, and the documents quote them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from medmm.report.ablation import Ablation, AblationRow, draw_ablation, render_ablation
from medmm.results import Value
from medmm.sources.phantom import _design
from medmm.sources.phantom.truth import ARMS, Table, limits_of

ROOT = Path(__file__).parents[2]
COMMITTED = sorted((ROOT / "eval" / "results" / "ablations").glob("*.json"))
SUMS = ("late", "product_of_experts", "weighted", "weighted_per_class")
LAW, PATIENTS, SEED = Table.from_text("0.01,0.9,0.99,0.8"), 9000, 53  # of phantom-joint
ASKED = ("accuracy", "auroc", "f1_macro", "brier")


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_table_and_the_figure_are_of_these_numbers(path: Path) -> None:
    found = Ablation.model_validate_json(path.read_text(encoding="utf-8"))
    assert path.with_suffix(".md").read_text(encoding="utf-8") == render_ablation(found)
    assert path.with_suffix(".svg").read_text(encoding="utf-8") == draw_ablation(found)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_figure_brings_its_own_colours(path: Path) -> None:
    svg = path.with_suffix(".svg").read_text(encoding="utf-8")
    used, defined = set(re.findall(r"var\((--[\w-]+)\)", svg)), set(re.findall(r"(--[\w-]+):", svg))
    assert used
    assert used <= defined


@pytest.mark.parametrize(
    ("name", "row", "label"),
    [
        ("knight-columns", "tabular", "columns, network"),
        ("knight-columns", "text", "note, network"),
        ("knight-columns", "text+tabular, late", "note and columns, `late`"),
        ("knight-columns", "logistic regression, columns", "columns, logistic regression"),
        ("knight-columns", "gradient boosting, columns", "columns, gradient boosting"),
        ("knight-columns", "best single column", "best single column"),
        ("knight-columns", "prevalence", "class frequencies"),
        ("knight-masks", "tabular", "columns and masks, network"),
        ("knight-masks", "text+tabular, late", "note, columns and masks, `late`"),
        ("knight-masks", "logistic regression, columns", "columns and masks, logistic regression"),
        ("knight-masks", "gradient boosting, columns", "columns and masks, gradient boosting"),
        ("knight-masks", "best single column", "best single column with masks, the tumour's diameter"),
    ],
)
def test_the_document_quotes_the_committed_numbers(name: str, row: str, label: str) -> None:
    found = rows_of(name)[row].metrics
    values = [found[metric] for metric in ("auroc", "f1[CanAT]", "brier", "ece[equal_mass,10]")]
    assert f"| {label} | {quoted(values)} |" in document()


def test_the_document_says_how_far_the_regression_and_the_note_are_from_the_network_of_columns_and_masks() -> None:
    rows, told = rows_of("knight-masks"), " ".join(document().split())
    network, note = rows["tabular"], rows["text+tabular, late"].differences["auroc"]
    assert committed("knight-masks").baseline == "logistic regression, columns"
    assert f"ahead by {quoted([network.beyond['auroc'].value]).replace(' (', ' in AUROC (')}" in told
    assert f"behind by {quoted([network.beyond['brier'].value]).replace(' (', ' in Brier score (')}" in told
    assert (note.outcome, note.value.value, note.value.low, note.value.high) == (
        "not_shown",
        pytest.approx(-0.007, abs=5e-4),
        pytest.approx(-0.021, abs=5e-4),
        pytest.approx(0.005, abs=5e-4),
    )
    of_note = rows_of("knight-columns")["text"].differences["auroc"].value
    assert (of_note.value, of_note.low, of_note.high) == tuple(pytest.approx(v, abs=5e-4) for v in (-0.016, -0.055, 0.021))
    assert "comes within 0.016 of them (-0.021 to 0.055)" in told
    assert "AUROC 0.007 less, 0.021 to -0.005, not shown" in told


@pytest.mark.parametrize("name", [path.stem for path in COMMITTED if path.stem.startswith("vqarad")])
@pytest.mark.parametrize(
    ("row", "label"),
    [
        ("image+text, cross_attention", "picture and question, network"),
        ("text", "question alone, network"),
        ("logistic regression, words of the note", "question alone, words counted, logistic regression"),
        ("prevalence", "class frequencies"),
    ],
)
def test_the_document_quotes_what_questions_about_pictures_came_to(name: str, row: str, label: str) -> None:
    found = rows_of(name)[row].metrics
    assert f"| {label} | {quoted([found[metric] for metric in ASKED])} |" in document()


@pytest.mark.parametrize("name", [path.stem for path in COMMITTED if path.stem.startswith("vqarad")])
def test_the_document_quotes_what_the_picture_adds_to_the_question(name: str) -> None:
    moved = rows_of(name)["image+text, cross_attention"].differences
    line = f"| picture and question minus question alone | {quoted([moved[metric].value for metric in ASKED])} |"
    assert line in document()


def test_the_document_says_how_far_the_picture_brings_the_network_ahead_of_counted_words() -> None:
    assert committed("vqarad-published").baseline == "logistic regression, words of the note"
    ahead = rows_of("vqarad-published")["image+text, cross_attention"].beyond
    told = " ".join(document().split())
    accuracy, auroc = (quoted([ahead[metric].value]) for metric in ("accuracy", "auroc"))
    assert (ahead["accuracy"].outcome, ahead["auroc"].outcome) == ("better", "not_shown")
    assert (
        f"ahead of it the picture brings {accuracy.replace(' (', ' in accuracy (')}, and in AUROC {auroc}, which is not shown"
        in told
    )


def test_how_far_each_fusion_came_on_the_phantom_follows_from_its_law() -> None:
    assert f"--n {PATIENTS} --seed {SEED} " in document()
    assert "--table 0.01,0.9,0.99,0.8" in document()
    limits = {name: LAW.limits(frozenset({name}))["auroc"] for name in ("image", "text")}
    fused = [row for row in rows_of("phantom-joint").values() if row.fusion]
    assert len(fused) == 11
    told = document().partition("## phantom-joint")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\| `", told, re.MULTILINE)) == len(fused)  # and no row of an earlier table
    for row in fused:
        auroc, limit, here = row.metrics["auroc"], limit_of(row.fusion), limit_on_the_test_side(row.fusion)
        whole = f"{quoted([auroc])} | {limit:.3f} | {way(auroc, limit):.2f} | {here:.3f} | {way(auroc, here):.2f}"
        alone = [row.given[name]["auroc"] for name in limits]
        given = " | ".join(f"{v.value:.3f} ({way(v, limit):.2f})" for v, limit in zip(alone, limits.values(), strict=True))
        assert f"| `{row.fusion}` | {whole} | {given} |" in document()


def test_the_document_says_how_near_all_fusions_come_to_their_limits() -> None:
    layers, sums, withheld = lowest_ways("phantom-joint")
    told = " ".join(document().split())
    assert f"come to {layers:.2f} of the way and more, the four sums to {min(sums.values()):.2f}" in told
    assert f"all 22 answers to {withheld:.2f} and more" in told


def test_the_document_says_which_fusion_falls_short_with_fewer_patients() -> None:
    layers, sums, withheld = lowest_ways("phantom-joint-3000")
    assert {name for name, found in sums.items() if found < 0.95} == {"late"}
    others = min(found for name, found in sums.items() if name != "late")
    told = " ".join(document().split())
    assert f"the seven interacting layers come to {layers:.2f} of the way and more, the other sums to {others:.2f} and more" in told
    assert f"and `late` to {sums['late']:.2f}; withheld, all 22 to {withheld:.2f} and more" in told


def test_votes_that_training_does_not_judge_hold_even_a_perfect_layer_back() -> None:
    full, *alone = (LAW.posterior(modalities) for modalities in ARMS)
    voted = expit(logit(full) + 0.5 * sum(logit(p) for p in alone))
    auroc = limits_of(voted, np.asarray(LAW.positive), LAW.cells)["auroc"]
    reached = (auroc - 0.5) / (limit_of("concat") - 0.5)
    assert f"to {auroc:.3f}, {reached:.2f} of the way" in document()


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ("image+text, concat", "picture and history, `concat`"),
        ("image", "picture alone, network"),
        ("text", "history alone, network"),
        ("logistic regression, words of the note", "history alone, words counted, logistic regression"),
        ("prevalence", "class frequencies"),
    ],
)
def test_the_document_quotes_what_pictures_and_histories_came_to(row: str, label: str) -> None:
    found = rows_of("pictures")[row].metrics
    values = [found[name] for name in ("f1_macro", "auroc_macro", "brier", "ece_macro[equal_mass,10]")]
    assert f"| {label} | {quoted(values)} |" in document()


def test_the_document_quotes_what_was_heard_in_dictated_notes() -> None:
    rows, limit = rows_of("dictated"), Table.from_text("0.05,0.9,0.1,0.95").limits(frozenset({"text"}))["auroc"]
    both = rows["text+audio, concat"]
    found = {
        "recording alone, `dilated`": rows["audio"].metrics,
        "note alone, network": rows["text"].metrics,
        "recording and note, `concat`": both.metrics,
        "the same model, recording alone": both.given["audio"],
        "the same model, note alone": both.given["text"],
        "note alone, words counted, logistic regression": rows["logistic regression, words of the note"].metrics,
        "class frequencies": rows["prevalence"].metrics,
    }
    for label, metrics in found.items():
        f1, auroc, brier = (metrics[name] for name in ("f1_macro", "auroc", "brier"))
        assert f"| {label} | {quoted([f1, auroc])} | {way(auroc, limit):.2f} | {quoted([brier])} |" in document()
    moved = rows["audio"].differences  # from the reference, the note alone
    f1, auroc, brier = (moved[name].value for name in ("f1_macro", "auroc", "brier"))
    assert f"| recording alone minus note alone | {quoted([f1, auroc])} | | {quoted([brier])} |" in document()


def lowest_ways(name: str) -> tuple[float, dict[str, float], float]:
    """The least way of the layers that can interact, that of each sum, and the least with one modality withheld."""
    fused = [row for row in rows_of(name).values() if row.fusion]
    limits = {name: LAW.limits(frozenset({name}))["auroc"] for name in ("image", "text")}
    whole = {str(row.fusion): round(way(row.metrics["auroc"], limit_of(str(row.fusion))), 2) for row in fused}
    alone = [round(way(row.given[name]["auroc"], limit), 2) for row in fused for name, limit in limits.items()]
    assert (len(whole), len(alone)) == (11, 22)
    sums = {fusion: whole.pop(fusion) for fusion in SUMS}
    return min(whole.values()), sums, min(alone)


def limit_of(fusion: str) -> float:
    """The best AUROC that the law allows a fusion."""
    return (LAW.additive_limits() if fusion in SUMS else LAW.limits(ARMS[0]))["auroc"]


def limit_on_the_test_side(fusion: str) -> float:
    """The AUROC of the true probabilities, or of the best sum, of the very patients that were measured."""
    tested = [patient for side, *patient in _design(PATIENTS, LAW, np.random.default_rng([SEED, 0])) if side == "test"]
    image, text, label = np.array(tested).T
    assert len(label) == committed("phantom-joint").n
    if fusion not in SUMS:
        return float(roc_auc_score(label, np.asarray(LAW.positive)[image, text]))
    return float(max(roc_auc_score(label, a * image + b * text) for a, b in product((-2, -1, 0, 1, 2), repeat=2)))


def way(auroc: Value, limit: float) -> float:
    """Of the way from chance to the limit."""
    assert auroc.value is not None
    return (auroc.value - 0.5) / (limit - 0.5)


def rows_of(name: str) -> dict[str, AblationRow]:
    return {row.name: row for row in committed(name).rows}


def committed(name: str) -> Ablation:
    (path,) = (path for path in COMMITTED if path.stem == name)
    return Ablation.model_validate_json(path.read_text(encoding="utf-8"))


def quoted(values: Sequence[Value]) -> str:
    return " | ".join(f"{v.value:.3f} ({v.low:.3f} to {v.high:.3f})" for v in values)


def document() -> str:
    return (ROOT / "eval" / "README.md").read_text(encoding="utf-8")
