"""Search spaces: what is drawn from them, and what is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from medmm.errors import TaskError
from medmm.training import TrainConfig
from medmm.training.search_space import Choices, Range, read_space

BASE = TrainConfig()


def space_file(folder: Path, content: object) -> Path:
    path = folder / "space.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_lists_ranges_and_keys_within_a_choice_are_read(tmp_path: Path) -> None:
    stated = {
        "fusion": ["concat", "gated"],
        "modalities": [["image"], ["image", "text"]],
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "width": {"low": 16, "high": 64, "step": 16},
        "loss_parts.text": {"low": 0.0, "high": 1.0},
    }
    space = read_space(space_file(tmp_path, stated), BASE)
    assert space["modalities"] == Choices(('["image"]', '["image", "text"]'))
    assert space["learning_rate"] == Range(1e-4, 1e-2, log=True)
    assert space["width"].grid == (16, 32, 48, 64)
    assert not space["loss_parts.text"].whole  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"learning_rat": [1e-3]}, "Did you mean learning_rate"),
        ({"fusion": ["concat", "gatd"]}, "Did you mean 'gated'"),
        ({"loss_parts.txt": [0.1]}, "Did you mean text"),
        ({"width": {"low": 10, "high": 64}}, "multiple of 4"),
        ({"epochs": {"low": 5, "high": 2}}, "low < high"),
        ({"learning_rate": {"low": 0.0, "high": 1.0, "log": True}}, "log only of positive"),
        ({"learning_rate": {"low": 0.1, "hi": 1.0}}, "learning_rate holds is neither"),
        ({"epochs": []}, "epochs holds is neither"),
        (["fusion"], "something else"),
        ("{", "no YAML in line 1"),
        ({}, "there is none"),
        ("text_source: [2024-01-01]\n", "Put it in quotes"),
        ({"loss_parts.text": [0.1], "loss_parts": [{"fused": 1.0}]}, "loss_parts.text lies within loss_parts"),
        ("epochs: [1]\nwidth: [8]\nepochs: [2]\n", "'epochs' stands twice, in lines 1 and 3"),
        ("learning_rate:\n  low: 0.1\n  high: 1\n  low: 0.2\n", "'low' stands twice, in lines 2 and 4"),
    ],
)
def test_what_cannot_be_searched_is_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        read_space(space_file(tmp_path, content), BASE)


def test_a_grid_of_a_range_without_end_is_refused() -> None:
    with pytest.raises(TaskError, match="Add step"):
        _ = Range(0.1, 0.2).grid
