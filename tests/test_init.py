"""The front door: what `import medmm` costs, and which names it has."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import medmm

HEAVY = {"torch", "monai", "gradio", "pydicom", "transformers", "sklearn", "matplotlib", "pandas", "nibabel", "scipy", "PIL"}
CPU_SECONDS = 0.5

PROBE = """
import json, resource, sys
def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
start = cpu()
try:
    {what}
except SystemExit:
    pass
print(json.dumps([cpu() - start, sorted({{m.partition(".")[0] for m in sys.modules}})]))
"""
WHAT = {
    "import medmm": "import medmm",
    "medmm --help": "import runpy; sys.argv = ['medmm', '--help']; runpy.run_module('medmm', run_name='__main__')",
}

PUBLIC = [
    "__version__", "errors",
    "Cohort", "Note", "Prediction", "Predictor", "Results", "Study", "Task", "TrainConfig", "Volume",
    "load_model", "make_phantom", "open_study", "read_cohort", "run_evaluation", "score", "train",
]  # fmt: skip


@pytest.mark.parametrize("what", WHAT)
def test_it_is_cheap_and_loads_nothing_heavy(what: str) -> None:
    cheapest = float("inf")
    for _ in range(3):  # a busy machine makes single measurements worse, never better
        run = subprocess.run([sys.executable, "-c", PROBE.format(what=WHAT[what])], capture_output=True, text=True, check=True)
        seconds, loaded = json.loads(run.stdout.splitlines()[-1])
        assert not HEAVY & set(loaded)
        assert "medmm" in loaded
        cheapest = min(cheapest, seconds)
    assert cheapest < CPU_SECONDS


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
