"""One model, many questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medmm.inference import Predictor
from medmm.sources.cohort import read_cohort
from medmm.tasks import FurtherTask
from medmm.training import TrainConfig, train

TASKS = (
    FurtherTask("grade", "ordinal"),
    FurtherTask("organ", "multiclass"),
    FurtherTask("side", "binary"),
    FurtherTask("weight", "regression"),
    FurtherTask("f", "multilabel", ("large", "never_known")),
)


@pytest.mark.parametrize(("weights", "fusion"), [("fixed", "concat"), ("uncertainty", "late")])
def test_a_model_learns_five_further_tasks_at_once(
    weights: Any, fusion: str, note_rows: Any, write_cohort: Any, tmp_path: Path
) -> None:
    rows = note_rows(100)
    for i, row in enumerate(rows):
        size = float(row["note"].split("Lesion of ")[1].split(" ")[0])
        row |= {"size": size, "grade": 1 + np.digitize(size, [3, 7]), "organ": "abc"[np.digitize(size, [3, 7])]}
        row |= {"side": "left" if i % 2 else "right", "weight": 10 * size if i % 5 else "", "f__large": i % 2, "f__never_known": ""}
    config = TrainConfig(epochs=40, width=32, learning_rate=1e-2, modalities=("tabular",), tabular=("size",), fusion=fusion,
                         tasks=TASKS, task_weights=weights)  # fmt: skip
    path = write_cohort(tmp_path, rows)
    train(path, tmp_path / "m", config, device="cpu", on_scan=lambda _: None)
    predictor = Predictor.load(tmp_path / "m", "cpu")
    assert [t.name for t in predictor.folder.model.config.tasks] == [t.name for t in TASKS]
    cases = [c for c in read_cohort(path, fields=predictor.folder.preprocessor.tabular.fields).cases if c.split == "test"]
    size = np.array([float(c.columns["size"]) for c in cases])
    said = [predictor.predict(c.open()).to_dict()["tasks"] for c in cases]
    assert np.corrcoef([s["weight"]["value"] for s in said], size)[0, 1] > 0.9
    assert np.ptp([s["weight"]["value"] for s in said]) > 30  # in its own unit
    for name, truth in {"grade": "123", "organ": "abc"}.items():
        called = [max(s[name]["probabilities"], key=s[name]["probabilities"].get) for s in said]
        assert np.mean([c == truth[k] for c, k in zip(called, np.digitize(size, [3, 7]), strict=True)]) > 0.7
    assert all((s["side"]["probabilities"]["left"] > 0.5) == (v > 5) for s, v in zip(said, size, strict=True))
    assert all((s["f"]["probabilities"]["large"] > 0.5) == (v > 5) for s, v in zip(said, size, strict=True))
    calibrated = {"grade": True, "organ": True, "side": True, "weight": False, "f": False}  # a label of f is never known
    assert all({name: answer["calibrated"] for name, answer in s.items()} == calibrated for s in said)
    assert "It also answers: grade (ordinal, calibrated), organ (multiclass, calibrated), side (" in predictor.folder.card
    assert "weight (regression, not calibrated), f (multilabel, not calibrated)." in predictor.folder.card
    train_rows = [row for row in rows if row["split"] == "train"]
    asked = {t.name: t for t in predictor.folder.model.config.tasks}
    assert asked["organ"].frequencies == pytest.approx([np.mean([r["organ"] == c for r in train_rows]) for c in "abc"])
    assert asked["f"].frequencies == pytest.approx([np.mean([r["f__large"] for r in train_rows]), 0.5])
