"""The cohort tables of VQA-RAD: what eval/README.md makes of the published table is what the tasks were written for."""

from __future__ import annotations

import re
import runpy
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from medmm.evaluation.task import find_cohort, read_task
from medmm.sources.cohort import Cohort, read_cohort

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cohorts(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cohort]:
    """Both tables by the name of their task, made as the document says and checked against the digest in the task."""
    root = tmp_path_factory.mktemp("root")
    tasks = root / "eval" / "tasks"
    tasks.mkdir(parents=True)
    (root / "data" / "vqarad").mkdir(parents=True)
    (root / "data" / "vqarad" / "vqarad_yesno.csv").write_bytes((shared_data / "vqarad" / "vqarad_yesno.csv").read_bytes())
    (root / "data" / "vqarad" / "images").symlink_to(shared_data / "vqarad" / "images")
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "eval" / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (root / "tables.py").write_text(code, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        runpy.run_path("tables.py")
    found = {}
    for name in ("vqarad", "vqarad_published"):
        file = shutil.copy(ROOT / "eval" / "tasks" / f"{name}.yaml", tasks)
        task = read_task(file)
        found[name] = read_cohort(find_cohort(task, Path(file)), labels=task.labels)
    return found


def sides_of_pictures(cohort: Cohort) -> list[frozenset[str | None]]:
    found: dict[Path, set[str | None]] = defaultdict(set)
    for case in cohort.cases:
        (image,) = case.images
        assert image.is_file()
        assert case.columns["picture"] == image.stem
        found[image].add(case.split)
    return [frozenset(sides) for sides in found.values()]


def test_no_picture_stands_on_two_sides_of_our_division(cohorts: dict[str, Cohort]) -> None:
    assert all(len(sides) == 1 for sides in sides_of_pictures(cohorts["vqarad"]))
    assert len(cohorts["vqarad"].with_split("test")) == 387


def test_nearly_every_test_picture_of_the_published_division_is_in_training(cohorts: dict[str, Cohort]) -> None:
    asked = [sides for sides in sides_of_pictures(cohorts["vqarad_published"]) if "test" in sides]
    assert len(cohorts["vqarad_published"].with_split("test")) == 251
    assert len(asked) == 135
    assert sum("train" in sides or "val" in sides for sides in asked) == 129
