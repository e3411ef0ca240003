"""`medmm eval report` as a command: which files it leaves and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from medmm.cli import app
from medmm.errors import InputError

COMMITTED = next((Path(__file__).parents[2] / "eval" / "results" / "sts51").glob("*/*.json"))


def test_the_committed_results_become_a_page_and_a_table(tmp_path) -> None:
    done = CliRunner().invoke(app, ["eval", "report", str(COMMITTED), "--format", "html,csv", "--out", str(tmp_path)])
    assert done.exit_code == 0
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["report.html written.", "metrics.csv written."]
    assert {p.name for p in tmp_path.iterdir()} == {"report.html", "metrics.csv"}


def test_an_unknown_form_is_an_error_with_its_code(tmp_path) -> None:
    done = CliRunner().invoke(app, ["eval", "report", str(COMMITTED), "--format", "pdf", "--out", str(tmp_path)])
    assert isinstance(done.exception, InputError)
    with pytest.raises(InputError, match="got pdf"):
        raise done.exception
