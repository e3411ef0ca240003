"""Everything trained on one cohort, compared: each number is what its own run, scored alone, comes to."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from medmm.errors import TaskError
from medmm.evaluation.ablation import Plan, ablate
from medmm.evaluation.predictions import from_store
from medmm.report.ablation import Ablation
from medmm.store import FULL_ARM
from medmm.table import read_rows
from medmm.training import TrainConfig

TINY = TrainConfig(epochs=1, width=16, voxels=4096)
IMAGE, TEXT, BOTH = frozenset({"image"}), frozenset({"text"}), frozenset({"image", "text"})
PLAN = Plan(fusions=("concat",), subsets=(TEXT, BOTH), seeds=(0, 1), config=TINY)


@pytest.fixture(scope="module")
def compared(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ablation]:
    out = tmp_path_factory.mktemp("ablation")
    return out, ablate(phantom / "cohort.csv", out, PLAN)


def truth_and_answer(run: Path, arm: str = FULL_ARM) -> tuple[np.ndarray, np.ndarray]:
    rows = sorted((r for r in from_store(run).records if r.arm == arm), key=lambda r: r.sample_id)
    return np.array([r.target[1] for r in rows]), np.array([r.probability[1] for r in rows])


def test_there_is_a_row_for_each_lone_modality_each_fusion_and_each_baseline(compared: tuple[Path, Ablation]) -> None:
    _, found = compared
    assert [row.name for row in found.rows if row.what == "model"] == ["text", "image+text, concat"]
    baselines = {row.name for row in found.rows if row.what == "baseline"}
    assert baselines == {"prevalence", "logistic regression, words of the note"}
    assert found.reference == "text"


def test_a_row_is_the_mean_over_its_seeds_of_what_sklearn_finds_in_each_run(compared: tuple[Path, Ablation]) -> None:
    out, found = compared
    row = next(r for r in found.rows if r.name == "image+text, concat")
    runs = [truth_and_answer(out / "cells" / f"image+text-concat-{seed}-run") for seed in (0, 1)]
    aurocs, briers = zip(*((roc_auc_score(y, p), brier_score_loss(y, p)) for y, p in runs), strict=True)
    assert row.metrics["auroc"].value == pytest.approx(np.mean(aurocs))
    assert row.metrics["brier"].value == pytest.approx(np.mean(briers))
    assert row.spread["auroc"] == pytest.approx(np.std(aurocs, ddof=1))


def test_a_model_of_several_modalities_is_also_asked_with_some_missing(compared: tuple[Path, Ablation]) -> None:
    out, found = compared
    rows = {row.name: row for row in found.rows}
    assert rows["text"].given == {}
    given = rows["image+text, concat"].given
    assert set(given) == {"image", "text"}
    for arm, values in given.items():
        runs = [truth_and_answer(out / "cells" / f"image+text-concat-{seed}-run", arm) for seed in (0, 1)]
        assert values["auroc"].value == pytest.approx(np.mean([roc_auc_score(y, p) for y, p in runs]))
        assert values["brier"].value == pytest.approx(np.mean([brier_score_loss(y, p) for y, p in runs]))
    assert "| image+text, concat | image | " in (out / "ablation.md").read_text()


def test_a_difference_is_that_of_the_rows_and_the_reference_has_none(compared: tuple[Path, Ablation]) -> None:
    _, found = compared
    rows = {row.name: row for row in found.rows}
    assert rows["text"].differences == {}
    for row in (r for r in found.rows if r.name != "text"):
        for name, difference in row.differences.items():
            assert difference.value.value == pytest.approx(row.metrics[name].value - rows["text"].metrics[name].value)
            if difference.p_value is not None and difference.adjusted_p is not None:
                assert difference.p_value <= difference.adjusted_p <= 1


def test_models_are_also_compared_with_the_best_baseline(compared: tuple[Path, Ablation]) -> None:
    out, found = compared
    rows = {row.name: row for row in found.rows}
    beaten = max((r for r in found.rows if r.what == "baseline"), key=lambda r: r.metrics["auroc"].value or 0)
    assert found.baseline == beaten.name
    for row in found.rows:
        assert set(row.beyond) == (set(row.metrics) if row.what == "model" else set())
        for name, difference in row.beyond.items():
            assert difference.value.value == pytest.approx(row.metrics[name].value - rows[found.baseline].metrics[name].value)
    assert f"| auroc minus {beaten.name} | p |" in (out / "ablation.md").read_text()


def test_all_seeds_share_one_division_of_the_patients(compared: tuple[Path, Ablation]) -> None:
    out, _ = compared
    rows = [read_rows(folder / "split.csv", TaskError) for folder in (out / "cells").glob("text-[01]")]
    sides = [sorted((row["study_id"], row["split"]) for row in side) for side in rows]
    assert len(sides) == 2
    assert sides[0] == sides[1]


def test_the_same_command_goes_on_where_it_was_killed_and_ends_alike(
    phantom: Path, compared: tuple[Path, Ablation], tmp_path: Path
) -> None:
    out, found = compared
    killed = tmp_path / "killed"
    shutil.copytree(out, killed)
    for left in ("image+text-concat-1", "image+text-concat-1-run"):  # never begun
        shutil.rmtree(killed / "cells" / left)
    for made in killed.glob("ablation.*"):
        made.unlink()
    kept = {p: p.stat().st_mtime_ns for p in (killed / "cells").glob("*-0/model.safetensors")}
    again = ablate(phantom / "cohort.csv", killed, PLAN)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    timeless = [row.model_copy(update={"milliseconds": None}) for row in again.rows]
    assert timeless == [row.model_copy(update={"milliseconds": None}) for row in found.rows]


def test_four_forms_of_one_result_are_written(compared: tuple[Path, Ablation]) -> None:
    out, found = compared
    assert Ablation.model_validate(json.loads((out / "ablation.json").read_text())) == found
    with (out / "ablation.csv").open(encoding="utf-8") as file:
        assert [row["row"] for row in csv.DictReader(file)] == [row.name for row in found.rows]
    assert "research use only" in (out / "ablation.md").read_text().lower()
    assert "image+text, concat" in (out / "ablation.svg").read_text()
    assert "members" not in (out / "ablation.md").read_text()  # every network is one


def test_with_folds_every_case_is_answered_by_a_model_that_did_not_see_it(phantom: Path, tmp_path: Path) -> None:
    plan = Plan(fusions=("concat",), subsets=(TEXT,), seeds=(0,), config=replace(TINY, voxels=TrainConfig().voxels), folds=3)
    found = ablate(phantom / "cohort.csv", tmp_path, plan)
    assert found.split == "out-of-fold"
    with (tmp_path / "cells" / "text-0" / "predictions.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["arm"] == "full"]
    y, p = [row["label"] == "positive" for row in rows], [float(row["p__positive"]) for row in rows]
    assert found.rows[0].metrics["auroc"].value == pytest.approx(roc_auc_score(y, p))
    assert found.n == len(rows)


@pytest.mark.parametrize(("changed"), [{"subsets": ()}, {"seeds": ()}, {"fusions": (), "subsets": (BOTH,)}])
def test_a_plan_without_anything_to_train_is_refused(changed: dict[str, tuple[object, ...]]) -> None:
    with pytest.raises(TaskError, match="at least one subset"):
        Plan(**{"fusions": ("concat",), "subsets": (IMAGE,), "seeds": (0,), "config": TINY} | changed)  # type: ignore[arg-type]


def test_what_no_case_has_is_refused_before_anything_is_trained(phantom: Path, tmp_path: Path) -> None:
    for name in ("audio", "tabular"):
        with pytest.raises(TaskError, match=f"none with {name}"):
            ablate(phantom / "cohort.csv", tmp_path / name, replace(PLAN, subsets=(TEXT, frozenset({"text", name}))))
        assert not (tmp_path / name).exists()


def test_a_column_that_predictions_give_a_meaning_is_refused_before_anything_is_trained(phantom: Path, tmp_path: Path) -> None:
    table = (phantom / "cohort.csv").read_text(encoding="utf-8")
    (tmp_path / "cohort.csv").write_text(table.replace("image_finding", "stage", 1), encoding="utf-8")
    with pytest.raises(TaskError, match="got stage"):
        ablate(tmp_path / "cohort.csv", tmp_path / "out", PLAN)
    assert not (tmp_path / "out").exists()


def test_seeds_of_a_comparison_share_one_division_of_patients() -> None:
    for stated, division in ((TrainConfig(seed=4), 4), (TrainConfig(seed=4, split_seed=3), 3)):
        plan = Plan(("concat",), (frozenset({"text"}),), (8, 9), stated)
        configs = [plan.config_of(plan.rows[0], seed) for seed in plan.seeds]
        assert [(config.seed, config.split_seed) for config in configs] == [(8, division), (9, division)]
