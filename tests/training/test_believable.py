"""A task's believable bounds hold in training as in prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medmm.errors import TaskError, ValuesError
from medmm.evaluation.run import run_evaluation
from medmm.evaluation.task import read_task
from medmm.inference import Predictor
from medmm.study import Study, Values
from medmm.table import read_rows
from medmm.training import TrainConfig, train
from medmm.training.config import config_from

TASK = "name: t\nlabels: [no_large, large]\ncohort: cohort.csv\nvalues:\n  - {name: age, unit: years, low: 0, high: 120}\n"
BAD = {3: "999", 5: "-1", 8: "sixty", 70: "999", 75: "121"}  # two of these in test


@pytest.fixture(scope="module")
def trained(note_rows: Any, write_cohort: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A task file, and the model trained for it on a cohort with five unbelievable ages."""
    folder = tmp_path_factory.mktemp("believable")
    write_cohort(folder, note_rows(80, age=lambda i: BAD.get(i, "" if i == 9 else 40 + i % 30)))
    (folder / "task.yaml").write_text(TASK, encoding="utf-8")
    config = config_from({"epochs": 1, "width": 16, **read_task(folder / "task.yaml").training_choices}, [])
    train(folder / "cohort.csv", folder / "m", config, device="cpu", on_scan=lambda _: None)
    return folder / "task.yaml", folder / "m"


def test_what_prediction_refuses_is_refused_and_reported_in_training(trained: tuple[Path, Path], tmp_path: Path) -> None:
    task, model = trained
    unread = {row["study_id"]: row["code"] for row in read_rows(model / "failures.csv", TaskError)}
    assert unread == dict.fromkeys(("S3", "S5", "S8"), "E_VALUES")
    run_evaluation(task, model, tmp_path / "run", device="cpu")
    codes = {row["sample_id"]: row["code"] for row in read_rows(tmp_path / "run" / "predictions.csv", TaskError)}
    assert {name for name, code in codes.items() if code} == {"S70", "S75"}
    assert {codes["S70"], codes["S75"]} == {"E_VALUES"}


def test_no_range_or_mean_comes_from_an_unbelievable_value_and_the_bounds_go_with_the_model(trained: tuple[Path, Path]) -> None:
    predictor = Predictor.load(trained[1], "cpu")
    recipe = predictor.folder.preprocessor.tabular
    assert recipe is not None
    (age,) = recipe.numbers
    assert (age.low, age.high, age.unit, age.believable) == (40, 69, "years", (0, 120))
    assert age.mean == pytest.approx(sum(40 + i % 30 for i in range(48) if i not in (3, 5, 8, 9)) / 44)
    with pytest.raises(ValuesError, match="within 0 to 120 years"):
        predictor.predict(Study(values=Values.from_cells(recipe.fields, {"age": "121"})))


def test_bounds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(TaskError, match=r"believable\.age"):
        config_from({}, ['believable={"age":[120,0]}'])
    assert config_from({}, ['believable={"age":[0,120]}']).quantities[0].high == 120
    assert TrainConfig().quantities == ()
