"""Further questions are measured each by its kind, beside a trivial answer, and say whether they are calibrated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, cohen_kappa_score, f1_score, mean_absolute_error, r2_score, roc_auc_score

from medmm.errors import PredictionsError, TaskError
from medmm.evaluation.exchange import export_run
from medmm.evaluation.files import score_to_folder
from medmm.evaluation.further import measure_further
from medmm.evaluation.policies import Further
from medmm.evaluation.run import run_evaluation
from medmm.evaluation.task import Task, read_task
from medmm.report.card_block import measured_table
from medmm.report.markdown import render_markdown
from medmm.results import FurtherResult, Results
from medmm.store import Record
from medmm.table import read_rows
from medmm.tasks import FurtherTask
from medmm.training import TrainConfig, train

TASK = Task(name="t", intervals={"replicates": 200})
ORGANS = ("liver", "lung", "bone")
ASKED = (
    Further(name="side", kind="binary", labels=("left", "right"), calibrated=True, baseline=(0.3, 0.7)),
    Further(name="organ", kind="multiclass", labels=ORGANS),
    Further(name="grade", kind="ordinal", labels=("1", "2", "3")),
    Further(name="f", kind="multilabel", labels=("x", "z")),
    Further(name="weight", kind="regression", baseline=(50.0,)),
)


def cells_of(rng: np.random.Generator) -> dict[str, str]:
    """Truth and somewhat better than random answers of one row."""
    side, organ, grade, f, weight = rng.integers(2), rng.integers(3), rng.integers(3), rng.integers(2, size=2), rng.normal(60, 10)
    right = 1 / (1 + np.exp(-rng.normal(2 * side - 1)))
    cells = {"side": ("left", "right")[side], "organ": ORGANS[organ], "grade": "123"[grade], "weight": repr(float(weight))}
    cells |= {"task__side__left": repr(float(1 - right)), "task__side__right": repr(float(right))}
    for name, labels, k in (("organ", ORGANS, organ), ("grade", "123", grade)):
        p = rng.dirichlet(1 + 2 * np.eye(3)[k])
        cells |= {f"task__{name}__{label}": repr(float(v)) for label, v in zip(labels, p, strict=True)}
    for label, v in zip("xz", f, strict=True):
        cells |= {f"f__{label}": str(v), f"task__f__{label}": repr(float(rng.beta(1 + v, 2 - v)))}
    return cells | {"task__weight": repr(float(weight + rng.normal(0, 5)))}


@pytest.fixture(scope="module")
def rows() -> list[Record]:
    """Ninety samples of 45 patients, of which the last failed and the one before lacks all truth."""
    rng = np.random.default_rng(0)
    found = [Record(f"s{i}", f"p{i // 2}", i, "full", target=(1.0, 0.0), columns=cells_of(rng)) for i in range(90)]
    truth = {k: v for k, v in found[-1].columns.items() if not k.startswith("task__")}
    found[-1] = replace(found[-1], code="E_NO_IMAGE", columns=truth)
    found[-2] = replace(found[-2], columns={k: v for k, v in found[-2].columns.items() if k.startswith("task__")})
    return found


@pytest.fixture(scope="module")
def measured(rows: list[Record]) -> dict[str, FurtherResult]:
    return {r.name: r for r in measure_further(ASKED, rows, TASK)}


def column(rows: list[Record], name: str) -> Any:
    return np.array([r.columns[name] for r in rows[:-2]])


def test_values_are_those_of_sklearn(rows: list[Record], measured: dict[str, FurtherResult]) -> None:
    right = column(rows, "task__side__right").astype(float)
    y = column(rows, "side") == "right"
    assert measured["side"].metrics["auroc"].value == pytest.approx(roc_auc_score(y, right))
    assert measured["side"].metrics["brier"].value == pytest.approx(brier_score_loss(y, right))
    organ = column(rows, "organ")
    p = np.stack([column(rows, f"task__organ__{label}").astype(float) for label in ORGANS], axis=1)
    called = np.array(ORGANS)[p.argmax(1)]
    assert measured["organ"].metrics["f1_macro"].value == pytest.approx(f1_score(organ, called, average="macro"))
    each = [roc_auc_score(organ == label, p[:, k]) for k, label in enumerate(ORGANS)]
    assert measured["organ"].metrics["auroc_macro"].value == pytest.approx(np.mean(each))
    grades = np.stack([column(rows, f"task__grade__{g}").astype(float) for g in "123"], axis=1).argmax(1) + 1
    kappa = cohen_kappa_score(column(rows, "grade").astype(int), grades, weights="quadratic")
    assert measured["grade"].metrics["kappa[quadratic]"].value == pytest.approx(kappa)
    assert set(measured["grade"].metrics) >= {"rps", "log_loss"}
    z = roc_auc_score(column(rows, "f__z").astype(int), column(rows, "task__f__z").astype(float))
    assert measured["f"].metrics["auroc[z]"].value == pytest.approx(z)
    truth, predicted = (column(rows, name).astype(float) for name in ("weight", "task__weight"))
    assert measured["weight"].metrics["mae"].value == pytest.approx(mean_absolute_error(truth, predicted))
    assert measured["weight"].metrics["r2"].value == pytest.approx(r2_score(truth, predicted))


def test_intervals_resample_patients(rows: list[Record], measured: dict[str, FurtherResult]) -> None:
    mae = measured["weight"].metrics["mae"]
    assert mae.low is not None
    assert mae.high is not None
    assert mae.low < (mae.value or 0) < mae.high
    twice = [replace(r, sample_id=f"{r.sample_id}{k}") for r in rows for k in "ab"]  # the same patients say no more
    again = measure_further(ASKED[-1:], twice, TASK)[0].metrics["mae"]
    assert (again.low, again.high) == pytest.approx((mae.low, mae.high))


def test_trivial_answers_stand_beside_and_what_is_undefined_says_why(measured: dict[str, FurtherResult]) -> None:
    assert measured["side"].trivial["auroc"].value == 0.5
    assert "training data" in measured["side"].trivial_what
    assert "scored samples themselves" in measured["organ"].trivial_what
    slope = measured["weight"].trivial["cal_slope"]
    assert (slope.value, slope.reason) == (None, "all answers are alike")
    for result in measured.values():
        assert (result.n, result.unanswered, result.calibrated) == (88, 1, result.name == "side")


@pytest.mark.parametrize(
    ("asked", "cells"),
    [
        (ASKED[0], {"side": "middle"}),
        (ASKED[-1], {"weight": "heavy"}),
        (ASKED[-1], {"task__weight": "nan"}),
        (ASKED[3], {"f__x": "2"}),
    ],
)
def test_what_is_not_of_its_kind_is_refused(asked: Further, cells: dict[str, str], rows: list[Record]) -> None:
    with pytest.raises(PredictionsError, match=asked.name):
        measure_further([asked], [replace(rows[0], columns=rows[0].columns | cells), *rows[1:]], TASK)


@pytest.mark.parametrize(
    "stated", ["{name: g, kind: binary}", "{name: g, kind: ordinal, labels: [a, b]}", "{name: w, kind: regression, labels: [a]}"]
)
def test_a_task_whose_labels_do_not_fit_the_kind_is_refused(stated: str, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(f"name: t\ntasks: [{stated}]\n", encoding="utf-8")
    with pytest.raises(TaskError, match="labels must be"):
        read_task(tmp_path / "task.yaml")


@pytest.fixture(scope="module")
def scored(notes_cohort: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Results]:
    """A cohort with sizes as further tasks, a model cross-validated on it, and the results of its run."""
    folder = tmp_path_factory.mktemp("further")
    path = notes_cohort(folder, 60, split=lambda i: ("train", "train", "val", "test")[i % 4])
    lines = path.read_text(encoding="utf-8").splitlines()
    sizes = [float(line.split("Lesion of ")[1].split(" ")[0]) for line in lines[1:]]
    cells = [f"{size},{'big' if size > 4 else 'small'}" for size in sizes]
    path.write_text("\n".join([f"{lines[0]},size,grade", *map(",".join, zip(lines[1:], cells, strict=True))]), encoding="utf-8")
    config = TrainConfig(
        epochs=2, width=16, tracker="none",
        tasks=(FurtherTask("size", "regression"), FurtherTask("grade", "binary", ("small", "big"))),
    )  # fmt: skip
    train(path, folder / "m", config, device="cpu", on_scan=lambda _: None)
    run_evaluation(path, folder / "m", folder / "run", device="cpu")
    return path, folder, score_to_folder(folder / "run", None, None, None)


def test_a_run_is_scored_and_says_so_on_the_page_and_the_card(scored: tuple[Path, Path, Results]) -> None:
    _, folder, results = scored
    size, grade = results.tasks
    assert (size.name, size.n, size.calibrated, grade.calibrated) == ("size", 15, False, True)
    said = {r["sample_id"]: r for r in read_rows(folder / "run" / "predictions.csv", PredictionsError) if r["arm"] == "full"}
    off = [abs(float(r["size"]) - float(r["task__size"])) for r in said.values()]
    assert size.metrics["mae"].value == pytest.approx(np.mean(off))
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    for text in (page, render_markdown(results), measured_table(results)):
        assert "What else it answers" in text
        assert "Its answers are not calibrated." in text
        assert "Its answers are calibrated on held-out patients." in text
        assert "mean of the training data" in text


def test_a_file_is_scored_when_a_task_says_what_it_answers(scored: tuple[Path, Path, Results], tmp_path: Path) -> None:
    _, folder, results = scored
    export_run(folder / "run", tmp_path / "p.csv")
    stated = "{name: size, kind: regression}, {name: grade, kind: binary, labels: [small, big]}"
    (tmp_path / "task.yaml").write_text(f"name: t\nlabels: [no_large, large]\ntasks: [{stated}]\n", encoding="utf-8")
    again = score_to_folder(None, tmp_path / "p.csv", tmp_path / "task.yaml", tmp_path / "out")
    assert [t.metrics["mae" if t.name == "size" else "auroc"].value for t in again.tasks] == [
        results.tasks[0].metrics["mae"].value, results.tasks[1].metrics["auroc"].value
    ]  # fmt: skip


def test_cross_validated_predictions_carry_them_too(scored: tuple[Path, Path, Results], tmp_path: Path) -> None:
    path, _, _ = scored
    asked = read_task_of(tmp_path)
    config = TrainConfig(epochs=1, width=16, tracker="none", tasks=tuple(FurtherTask(**t) for t in asked.training_choices["tasks"]))
    train(path, tmp_path / "cv", config, folds=2, device="cpu", on_scan=lambda _: None)
    results = score_to_folder(None, tmp_path / "cv" / "predictions.csv", tmp_path / "task.yaml", tmp_path / "out")
    assert [(t.name, t.n, t.unanswered) for t in results.tasks] == [("size", 45, 0)]


def read_task_of(folder: Path) -> Task:
    (folder / "task.yaml").write_text("name: t\ntasks: [{name: size, kind: regression}]\n", encoding="utf-8")
    return read_task(folder / "task.yaml")
