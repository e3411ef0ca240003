"""A stranger's stored predictions, scored as anybody would: fuse-med-ml's KNIGHT baseline on its 60 test patients.

Their columns map one to one: `case_id` is the sample, `NoAT-score` and `CanAT-score` are the probabilities of the two
classes, the label is that of the challenge's table. Nothing of either enters the repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medmm.errors import PredictionsError
from medmm.evaluation.files import compare_to_folder, score_to_folder
from medmm.evaluation.predictions import from_file
from medmm.metrics import Scores
from medmm.metrics.binned import WidthBins, width_errors
from medmm.metrics.column import column
from medmm.table import Row, read_rows, write_csv

COLUMNS = ["sample_id", "label", "p__NoAT", "p__CanAT", "sex", "radiographic_size"]
TASK = """name: knight
labels: [NoAT, CanAT]
question: Is this kidney tumour high risk by AUA?
subgroups: {columns: [sex, {column: radiographic_size, bands: [4]}], min_n: 10, min_events: 3}
"""


@pytest.fixture(scope="module")
def knight(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with task.yaml, fuse.csv and size.csv: the baseline, and tumour size alone turned into a probability."""
    folder = tmp_path_factory.mktemp("knight")
    cases = {r["id"]: r for r in read_rows(shared_data / "knight" / "knight.csv", PredictionsError)}
    given = read_rows(shared_data / "knight" / "fuse_baseline_task1_predictions.csv", PredictionsError)
    (folder / "task.yaml").write_text(TASK)
    write_csv(folder / "fuse.csv", COLUMNS, (row(cases[g["case_id"]], float(g["CanAT-score"])) for g in given))
    sizes = (float(cases[g["case_id"]]["radiographic_size"]) for g in given)
    by_size = [row(cases[g["case_id"]], s / (s + 7)) for g, s in zip(given, sizes, strict=True)]
    write_csv(folder / "size.csv", COLUMNS, by_size)
    return folder


def row(case: Row, p: float) -> dict[str, object]:
    known = {name: case[name] for name in ("sex", "radiographic_size")}
    return {"sample_id": case["id"], "label": case["label_name"], "p__NoAT": 1 - p, "p__CanAT": p, **known}


def test_their_published_numbers_are_reproduced(knight: Path) -> None:
    results = score_to_folder(None, knight / "fuse.csv", knight / "task.yaml", knight / "out")
    found = results.arms[0].metrics
    assert (results.counts.scored, results.arms[0].positives["CanAT"]) == (60, 20)
    assert found["auroc"].value == pytest.approx(0.845, abs=5e-4)
    assert [found["auroc"].low, found["auroc"].high] == pytest.approx([0.712, 0.954], abs=0.025)  # theirs is another bootstrap
    assert found["f1[CanAT]"].value == pytest.approx(0.698, abs=5e-4)
    assert found["brier"].value == pytest.approx(0.154, abs=5e-4)
    groups = {g.value: g for g in results.groups}
    assert groups.keys() >= {"female", "male", "<4", ">=4"}
    assert {g.suppressed for g in groups.values() if g.n < 10} == {"fewer than 10 samples"}
    assert results.arms[0].decision.thresholds == (0.5,)


def test_their_calibration_error_is_reproduced(knight: Path) -> None:
    rows = from_file(knight / "fuse.csv", ("NoAT", "CanAT")).records
    target, p = (np.array([getattr(r, name) for r in rows]) for name in ("target", "probability"))
    scores = Scores("binary", ("NoAT", "CanAT"), target, p, p >= 0.5, np.arange(60))
    ece, *_ = width_errors(WidthBins.of([column(scores, 1)], 60, 10).sums(np.ones((60, 1))))
    assert ece.item() == pytest.approx(0.177, abs=5e-4)


def test_one_recorded_number_is_not_shown_to_be_worse_on_the_same_patients(knight: Path) -> None:
    found = compare_to_folder((knight / "fuse.csv", knight / "size.csv"), knight / "task.yaml", None, {})
    assert (found.n, found.left_out) == (60, 0)
    areas = {c.test: c for c in found.comparisons if c.metric == "auroc"}
    assert areas["delong"].difference == pytest.approx(0.845 - 0.867, abs=0.002)  # size alone: 0.867 on these patients
    assert {c.outcome for c in areas.values()} == {"not_shown"}
    assert any("Only 60 samples" in note for note in found.notes)
