from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest

from medmm.errors import DependencyError
from medmm.optional import require

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_an_installed_module_is_returned() -> None:
    assert require("math", "Arithmetic", "model") is math


def test_a_missing_module_says_what_for_and_how_to_install() -> None:
    with pytest.raises(DependencyError) as caught:
        require("package_nobody_has", "Levitation", "demo")
    assert caught.value.message == (
        "Levitation needs the package package_nobody_has, which is not installed. Install it with: pip install 'medmm[demo]'."
    )


def test_the_requirement_in_the_message_is_the_one_of_the_project_file() -> None:
    stated = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]["parquet"]
    with pytest.raises(DependencyError) as caught:
        require("pyarrow.module_nobody_has", "Reading Parquet", "parquet")
    assert f"the package {stated[0]}, which" in caught.value.message
