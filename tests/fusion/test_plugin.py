"""Adding a fusion is one file below 60 lines, one registry line and the contract test: proved by a package that does it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import medmm.fusion

PACKAGE = Path(__file__).parents[1] / "plugin" / "strongest"
OURS = sorted(set(Path(medmm.fusion.__file__).parent.glob("*.py")) - {Path(medmm.fusion.__file__).parent / "contract.py"})


@pytest.mark.parametrize("file", [*OURS, PACKAGE / "strongest.py"], ids=lambda f: f.name)
def test_a_fusion_is_one_file_below_60_lines(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) < 60


def test_a_package_adds_one_with_one_line() -> None:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"] == {"medmm.fusions": {"strongest": "strongest:Strongest"}}
    assert [f.name for f in PACKAGE.glob("*.py")] == ["strongest.py"]


def test_the_contract_holds_for_an_installed_plug_in(install_plugin: Any) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(install_plugin("strongest")), *sys.path])}
    contract = Path(__file__).with_name("test_contract.py")
    command = [sys.executable, "-m", "pytest", str(contract), "-q", "-k", "strongest", "-p", "no:cacheprovider"]
    run = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert int(run.stdout.split(" passed")[0].split()[-1]) >= 20, run.stdout
