"""`medmm tune` says what its space puts aside of what was stated."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from medmm.cli import app
from medmm.errors import TaskError
from medmm.training.partners import IdleWarning

SPACE = {
    "epochs": [1],
    "width": [8, 16],
    "learning_rate": {"low": 0.001, "high": 0.01},
    "loss_parts.text": {"low": 0.0, "high": 0.5},
    "encoder_options": [{}, {"text": {"depth": 1}}],
    "seed": [3, 4],
}


@pytest.fixture
def tune(tmp_path: Path) -> Any:
    """Function from a cohort, what is searched, a file's choices and options to the outcome of the command."""

    def run(cohort: Path, space: dict[str, Any], choices: dict[str, Any], *options: str) -> Any:
        for name, content in (("space", space), ("choices", choices)):
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
        files = ["--space", str(tmp_path / "space.yaml"), "--config", str(tmp_path / "choices.yaml")]
        return CliRunner().invoke(app, ["tune", str(cohort), "--out", str(tmp_path / "out"), "--trials", "1", *files, *options])

    return run


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "learning_rate=0.005"], "no --set learning_rate beside a space that searches learning_rate"),
        (["--set", "width=8"], "no --set width beside"),
        (["--set", "loss_parts.text=0.2"], "no --set loss_parts.text beside"),
        (["--set", "encoder_options.text.depth=1"], "no --set encoder_options.text.depth beside"),
        (["--epochs", "1"], "no --epochs beside a space that searches epochs"),
    ],
)
def test_what_is_typed_and_searched_is_refused_before_anything_is_read(
    tune: Any, tmp_path: Path, options: list[str], said: str
) -> None:
    error = tune(tmp_path / "none.csv", SPACE, {}, *options).exception
    assert isinstance(error, TaskError)
    assert said in error.message


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"split_seed": [1, 2]}, "without split_seed, as trials are compared on the same patients"),
        ({"fractions": [[0.6, 0.2, 0.2], [0.7, 0.1, 0.2]]}, "without fractions"),
        ({"members": [1, 2]}, "without members, as a trial is one network"),
    ],
)
def test_what_would_make_trials_unlike_is_refused(tune: Any, tmp_path: Path, space: dict[str, Any], said: str) -> None:
    error = tune(tmp_path / "none.csv", space, {}).exception
    assert isinstance(error, TaskError)
    assert said in error.message


def test_a_file_is_told_which_of_its_choices_no_trial_can_have(tune: Any, note_cohort: Path, tmp_path: Path) -> None:
    own = {"modalities": ["text"], "tracker": "none", "seed": 5}
    stated = {
        "epochs": 7,
        "learning_rate": 0.1,
        "loss_parts": {"text": 0.9},
        "encoder_options": {"text": {"depth": 2}},
        "width": 16,
    }
    with pytest.warns(IdleWarning) as found:
        done = tune(note_cohort, SPACE, own | stated)
    assert done.exit_code == 0, done.output
    (told,) = [str(w.message) for w in found if w.category is IdleWarning]
    for key in ("encoder_options.text.depth", "epochs", "learning_rate", "loss_parts.text"):
        assert f"{key} without it among what is compared" in told
    assert "width" not in told
    assert "seed" not in told
    record = json.loads((tmp_path / "out" / "trials" / "0" / "run" / "train.json").read_text())
    assert record["config"]["epochs"] == 1  # as the warning says


def test_a_file_whose_choices_lie_within_the_space_is_left_in_peace(tune: Any, note_cohort: Path) -> None:
    stated = {"epochs": 1, "learning_rate": 0.005, "encoder_options": {"text": {"depth": 1}}, "width": 16, "modalities": ["text"]}
    with warnings.catch_warnings():
        warnings.simplefilter("error", IdleWarning)
        done = tune(note_cohort, SPACE, stated | {"tracker": "none"})
    assert done.exit_code == 0, done.output
