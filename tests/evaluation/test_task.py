"""Task files: strict, hashed, and never tuned on what they score."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from medmm.errors import TaskError
from medmm.evaluation.task import Task, find_cohort, read_task

TEXT = """
name: lungs
version: 2
question: Is there a metastasis?
kind: binary
labels: [well, ill]
cohort: cohort.csv
thresholds: {policy: max_f1_macro, split: val}
intervals: {replicates: 500, seed: 3, level: 0.9}
"""


@pytest.fixture
def task_file(tmp_path):
    def build(text=TEXT):
        path = tmp_path / "task.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return build


def test_a_task_file_is_read(task_file) -> None:
    task = read_task(task_file())
    assert (task.name, task.version, task.kind, task.labels, task.split) == ("lungs", 2, "binary", ("well", "ill"), "test")
    assert (task.thresholds.policy, task.thresholds.split) == ("max_f1_macro", "val")
    assert (task.intervals.replicates, task.intervals.seed, task.intervals.level) == (500, 3, 0.9)


@pytest.mark.parametrize(
    "text",
    [
        TEXT + "treshold: 0.5", TEXT.replace("split: val", "split: val, value2: 1"), TEXT.replace("name: lungs", ""),
        TEXT.replace("lungs", "../lungs"), TEXT.replace("binary", "ternary"), TEXT.replace("500", "3"), TEXT.replace("0.9}", "2}"),
        TEXT.replace("[well, ill]", "[ill, ill]"), TEXT.replace("[well, ill]", "[no, yes]"),
        TEXT.replace("[well, ill]", "[ill, 'a|b']"), TEXT.replace("[well, ill]", "[ill, '']"),
        "- a list", "", "name: [", "question: 2020-13-45", "[" * 100_000, b"\xff\xfe\x00",
        "!!python/object:os.system {}", "a: " * 400_000,
    ],
    ids=[
        "unknown key", "unknown nested key", "no name", "name with a path", "unknown kind", "few replicates", "level",
        "repeated label", "labels read as true and false", "label with bar", "empty label", "list", "empty",
        "broken", "impossible date", "deep", "binary",
        "object", "too large",
    ],
)  # fmt: skip
def test_a_task_file_that_breaks_the_contract_is_refused(task_file, text) -> None:
    with pytest.raises(TaskError):
        read_task(task_file(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [(TEXT + "labels: [ill, well]\n", "'labels' stands twice, in lines 6 and 10"),
     (TEXT.replace("seed: 3", "seed: 3, seed: 4"), "'seed' stands twice, in line 9")],
)  # fmt: skip
def test_a_key_that_is_stated_twice_is_refused(task_file, text, said) -> None:
    with pytest.raises(TaskError, match=said):
        read_task(task_file(text))


def test_a_missing_task_file_is_refused(tmp_path) -> None:
    with pytest.raises(TaskError):
        read_task(tmp_path / "none.yaml")


@pytest.mark.parametrize("scored", ["test", "val"])
def test_thresholds_chosen_on_the_scored_split_are_refused(task_file, scored) -> None:
    with pytest.raises(TaskError, match="another split"):
        read_task(task_file(TEXT.replace("split: val", f"split: {scored}") + f"split: {scored}"))


def test_the_digest_is_of_the_content_and_nothing_else(task_file) -> None:
    digest = read_task(task_file()).digest
    assert digest == read_task(task_file("# a comment\n" + TEXT)).digest
    assert digest != read_task(task_file(TEXT.replace("seed: 3", "seed: 4"))).digest


def test_the_digest_of_a_task_never_changes() -> None:
    # Committed results name the task they answer by it.
    assert Task(name="fixed").digest == "d3db098e5fdbf11c76ebf8b2568c25317c7a1f5eac68b60ea5408d7bfb0c71c1"


def test_a_cohort_is_found_beside_its_task_and_must_be_the_stated_one(task_file, tmp_path) -> None:
    (tmp_path / "cohort.csv").write_text("a")
    assert find_cohort(read_task(task_file()), task_file()) == tmp_path / "cohort.csv"
    stated = TEXT + f"cohort_sha256: {hashlib.sha256(b'a').hexdigest()}"
    assert find_cohort(read_task(task_file(stated)), task_file(stated)) == tmp_path / "cohort.csv"
    (tmp_path / "cohort.csv").write_text("b")
    with pytest.raises(TaskError, match="SHA-256 differs"):
        find_cohort(read_task(task_file(stated)), task_file(stated))


def test_a_task_without_a_cohort_cannot_be_run(task_file) -> None:
    task = read_task(task_file("name: t"))
    with pytest.raises(TaskError, match="name a cohort"):
        find_cohort(task, task_file())


def test_the_task_in_the_documents_follows_the_contract(task_file) -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    example = text.split("```yaml\n")[1].split("```")[0]
    found = read_task(task_file(example))
    stated = {line.partition(":")[0] for line in example.splitlines() if line[:1].isalpha()}
    assert stated >= set(Task.model_fields) - {"cohort_sha256", "values", "supersedes"}
    assert found.thresholds.policy == "youden"
