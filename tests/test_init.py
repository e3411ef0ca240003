"""The front door: what `import medmm` costs, and which names it has."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import medmm

LIGHT = {"medmm", "typing_extensions"}
"""What `import medmm` may load beyond the standard library; `benchmarks/import_cost.py` times it."""
OF_THE_COMMAND_LINE = {
    "annotated_doc", "annotated_types", "attr", "markdown_it", "mdurl", "numpy", "pydantic", "pydantic_core", "pygments", "rich",
    "shellingham", "typer", "typing_inspection",
}  # fmt: skip
WHAT = {
    "import medmm": ("import medmm", LIGHT),
    "medmm --help": (
        "import runpy; sys.argv = ['medmm', '--help']; runpy.run_module('medmm', run_name='__main__')",
        LIGHT | OF_THE_COMMAND_LINE,
    ),
}
PROBE = """
import json, sys
before = set(sys.modules)
try:
    {what}
except SystemExit:
    pass
packages = {{m.partition(".")[0] for m in set(sys.modules) - before}}
print(json.dumps(sorted(packages - set(sys.stdlib_module_names))))
"""

PUBLIC = [
    "__version__", "errors",
    "Cohort", "Note", "Prediction", "Predictor", "Results", "Study", "Task", "TrainConfig", "Volume",
    "load_model", "make_phantom", "open_study", "read_cohort", "run_evaluation", "score", "train",
]  # fmt: skip


@pytest.mark.parametrize("what", WHAT)
def test_it_loads_nothing_heavy(what: str) -> None:
    code, allowed = WHAT[what]
    run = subprocess.run([sys.executable, "-c", PROBE.format(what=code)], capture_output=True, text=True, check=True)
    loaded = set(json.loads(run.stdout.splitlines()[-1]))
    assert "medmm" in loaded
    assert loaded <= allowed, f"heavier by {sorted(loaded - allowed)}"


def test_help_names_the_commands() -> None:
    run = subprocess.run([sys.executable, "-m", "medmm", "--help"], capture_output=True, text=True, check=True)
    assert all(command in run.stdout for command in ("demo", "predict", "train", "phantom", "eval", "models"))


def test_all_is_the_public_surface_and_every_name_resolves() -> None:
    assert medmm.__all__ == PUBLIC
    assert dir(medmm) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(medmm, name) is not None


def test_names_for_type_checkers_are_the_same() -> None:
    source = ast.parse(Path(medmm.__file__).read_text(encoding="utf-8"))
    (guarded,) = [node for node in source.body if isinstance(node, ast.If)]
    checked = {alias.name for statement in guarded.body for alias in statement.names}
    assert checked == set(PUBLIC) - {"__version__"}


def test_a_lazy_name_is_the_thing_itself() -> None:
    from medmm.sources.opener import open_study

    assert medmm.open_study is open_study


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_kind'"):
        _ = medmm.nothing_of_the_kind


def test_the_version_is_the_one_of_the_project_file() -> None:
    import tomllib

    project = Path(__file__).parents[1] / "pyproject.toml"
    assert tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"] == medmm.__version__
