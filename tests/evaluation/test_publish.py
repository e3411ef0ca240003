"""`medmm eval report`: every form of the same results, whole or not at all."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from medmm.errors import InputError, PredictionsError
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.publish import publish
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.results import Results, RunComparison, WorstCase
from medmm.store import Record


@pytest.fixture(scope="module")
def results() -> Results:
    rows = [
        Record(f"s{i}", f"p{i}", i, "full", target=(1.0 - i % 2, float(i % 2)), probability=(1 - p, p))
        for i, p in enumerate((0.1, 0.6, 0.3, 0.9, 0.2, 0.4, 0.7, 0.8))
    ]
    task = Task(name="tested", intervals={"replicates": 100})
    return score(Predictions("binary", ("no", "yes"), tuple(rows), {"type": "test"}), task)


@pytest.fixture
def run(results, tmp_path):
    (tmp_path / "metrics.json").write_text(results.to_json(), encoding="utf-8")
    return tmp_path


def test_every_form_is_written(run, tmp_path) -> None:
    written = publish(run, ["html", "md", "csv", "card", "junit"], tmp_path / "out")
    assert [p.name for p in written] == ["report.html", "report.md", "metrics.csv", "card_block.md", "verdict.xml"]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {p.name for p in written}
    assert written[0].read_text(encoding="utf-8").startswith("<!doctype html>")
    assert ElementTree.parse(written[4]).getroot().get("name") == "medmm verdict on tested"


def test_the_run_folder_is_where_they_go_unless_told_otherwise(run) -> None:
    assert publish(run / "metrics.json", ["md"]) == publish(run, ["md"]) == [run / "report.md"]


def test_an_unknown_form_is_refused_before_anything_is_written(run, tmp_path) -> None:
    with pytest.raises(InputError, match="Expected formats among html, md, csv, card, junit; got docx"):
        publish(run, ["html", "docx"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_was_not_measured_cannot_be_reported(tmp_path) -> None:
    with pytest.raises(PredictionsError, match="there is neither"):
        publish(tmp_path, ["html"])
    (tmp_path / "comparison.json").write_text("{}", encoding="utf-8")
    with pytest.raises(PredictionsError, match=r"Expected a comparison\.json"):
        publish(tmp_path, ["html"])


def test_two_runs_are_reported_side_by_side(results, tmp_path) -> None:
    names = ("ours", "theirs")
    arms = tuple(a.model_copy(update={"name": name}) for a, name in zip(results.arms, names, strict=False))
    shared = {
        k: getattr(results, k) for k in ("medmm", "disclaimer", "task", "task_sha256", "kind", "labels", "split", "intervals")
    }
    found = RunComparison(
        **shared, first={}, second={}, n=8, patients=8, left_out=0, arms=arms, comparisons=results.comparisons, notes=()
    )
    (tmp_path / "comparison.json").write_text(found.to_json(), encoding="utf-8")
    assert [p.name for p in publish(tmp_path, ["html", "md"])] == ["comparison.html", "comparison.md"]
    with pytest.raises(InputError, match="Expected formats among html, md; got csv"):
        publish(tmp_path, ["csv"])


def test_the_worst_cases_are_shown_from_their_cohort(results, phantom, tmp_path) -> None:
    study = (phantom / "cohort.csv").read_text(encoding="utf-8").splitlines()[1].split(",")[0]
    worst = WorstCase(sample_id=study, truth="no", called="yes", probability=0.9, pattern="image")
    told = results.model_copy(update={"worst": (worst,)})
    (tmp_path / "metrics.json").write_text(told.to_json(), encoding="utf-8")
    (page,) = publish(tmp_path, ["html"], images=phantom / "cohort.csv")
    assert page.read_text(encoding="utf-8").count('<img src="data:image/png;base64,') == 1
