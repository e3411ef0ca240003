"""The runs under a folder: all that are measured, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medmm.errors import PredictionsError
from medmm.ui.runs import Runs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(measured) -> Runs:
    return Runs(measured)


def test_measured_runs_are_found_and_nothing_else(runs) -> None:
    assert runs.names() == ["good", "nested/poor"]
    assert runs.tasks() == ["lungs"]


def test_committed_results_are_runs_without_predictions() -> None:
    runs = Runs(ROOT / "eval" / "results")
    assert "sts51/0.1.0/lung_metastases" in runs.names()
    assert runs.get("sts51/0.1.0/lung_metastases").folder is None
    assert runs.cases("sts51/0.1.0/lung_metastases") == ()


def test_links_are_not_followed(measured, tmp_path) -> None:
    shutil.copytree(measured / "good", tmp_path / "here")
    (tmp_path / "metrics.json").symlink_to(measured / "good" / "metrics.json")
    (tmp_path / "there").symlink_to(measured)
    assert Runs(tmp_path).names() == ["here"]


def test_a_folder_without_runs_is_refused(tmp_path) -> None:
    with pytest.raises(PredictionsError, match="there is none"):
        Runs(tmp_path)


@pytest.mark.parametrize(
    ("words", "task", "found"),
    [("", "", 2), ("POOR", "", 1), ("poor lungs", "lungs", 1), ("poor good", "", 0), ("", "other", 0), ("test", "lungs", 2)],
)
def test_runs_are_filtered_by_all_words_and_the_task(runs, words, task, found) -> None:
    assert len(runs.matching(words, task)) == found


def test_runs_without_predictions_or_of_other_labels_are_not_paired(tmp_path, imported, measured) -> None:
    shutil.copytree(measured / "good", tmp_path / "good")
    (tmp_path / "numbers").mkdir()
    shutil.copy(measured / "good" / "metrics.json", tmp_path / "numbers")
    (tmp_path / "other").mkdir()
    three = {"p__a": 0.5, "p__b": 0.3, "p__c": 0.2}
    imported(tmp_path / "other", [{"sample_id": f"s{i}", "split": "test", "label": "abc"[i % 3]} | three for i in range(9)])
    runs = Runs(tmp_path)
    with pytest.raises(PredictionsError, match="predictions of both"):
        runs.compare("good", "numbers")
    with pytest.raises(PredictionsError, match="same labels"):
        runs.compare("good", "other")


def test_an_unknown_run_is_refused(runs) -> None:
    with pytest.raises(PredictionsError, match="Choose one"):
        runs.get("../good")
