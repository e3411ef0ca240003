"""`medmm ablate` refuses what it cannot use before anything is trained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medmm.cli import app
from medmm.errors import TaskError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--subsets", "image+smell"], "--subsets"),
        (["--seeds", "one"], "--seeds"),
        (["--resume"], "nothing is|holds none"),
        (["--fusions", "consat"], "concat"),
        (["--set", "fusion=gated"], "--fusions in place of"),
        (["--set", 'modalities=["text"]'], "--subsets in place of"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["ablate", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out"), *options])
    assert isinstance(result.exception, TaskError)
    assert re.search(said, result.exception.message)
