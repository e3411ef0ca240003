"""`medmm eval score` as a stranger would call it: on a bare machine, with anybody's predictions."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from medmm.errors import PredictionsError
from medmm.evaluation.files import read_results, score_to_folder

HEAVY = ("torch", "monai", "gradio", "transformers", "pandas")


@pytest.fixture
def bare(tmp_path):
    """Environment in which the libraries of the model half and the page cannot be imported."""
    for name in HEAVY:
        (tmp_path / "bare").mkdir(exist_ok=True)
        (tmp_path / "bare" / f"{name}.py").write_text("raise ImportError('blocked')\n")
    return {"PYTHONPATH": str(tmp_path / "bare")}


def test_scoring_needs_neither_torch_nor_monai_nor_gradio(medmm, bare, write, arms_of, tmp_path) -> None:
    blocked = subprocess.run(
        [sys.executable, "-c", "import torch"], env={**os.environ, **bare}, capture_output=True, text=True, check=False
    )
    assert "ImportError: blocked" in blocked.stderr
    done = medmm("eval", "score", "--predictions", write(arms_of()), "--out", tmp_path / "out", env=bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert "AUROC" in done.stdout
    results = read_results(tmp_path / "out" / "metrics.json")
    assert [a.name for a in results.arms] == ["full", "image", "text", "prevalence"]
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_same_inputs_give_the_same_bytes_on_any_number_of_threads(medmm, write, arms_of, tmp_path, threads) -> None:
    table = write(arms_of())
    score_to_folder(None, table, None, tmp_path / "here")
    assert (
        medmm("eval", "score", "--predictions", table, "--out", tmp_path / "there", env={"OMP_NUM_THREADS": threads}).returncode
        == 0
    )
    for name in ("metrics.json", "report.html"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert {p.name for p in (tmp_path / "there").iterdir()} == {"metrics.json", "report.html"}


def test_with_json_the_results_are_all_that_is_printed(medmm, write, arms_of, tmp_path) -> None:
    done = medmm("eval", "score", "--predictions", write(arms_of()), "--out", tmp_path / "out", "--json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))


def test_failed_samples_end_with_their_own_exit_code(medmm, write, arms_of, tmp_path) -> None:
    rows = arms_of()
    rows[0] |= {"code": "E_NO_IMAGE", "p__no": "", "p__yes": ""}
    done = medmm("eval", "score", "--predictions", write(rows), "--out", tmp_path / "out")
    assert done.returncode == 3
    assert read_results(tmp_path / "out" / "metrics.json").counts.failures == {"E_NO_IMAGE": 1}


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--predictions", "absent.csv", "--out", "absent"], "E_PREDICTIONS"), (["absent"], "E_STORE")]
)
def test_unusable_input_ends_with_its_code_and_without_its_path(medmm, arguments, code) -> None:
    done = medmm("eval", "score", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(code)
    assert "absent" not in done.stderr


def test_a_task_file_decides_labels_order_and_name(write, arms_of, tmp_path) -> None:
    (tmp_path / "t.yaml").write_text("name: turned\nlabels: ['yes', 'no']\nintervals: {replicates: 100}\n")
    results = score_to_folder(None, write(arms_of()), tmp_path / "t.yaml", tmp_path / "out")
    assert (results.task, results.labels, results.intervals.replicates) == ("turned", ("yes", "no"), 100)
    assert "sensitivity[no]" in results.arms[0].metrics


def test_without_a_task_the_file_names_it(write, arms_of, tmp_path) -> None:
    assert score_to_folder(None, write(arms_of()), None, tmp_path / "out").task == "given"


def test_one_input_and_a_place_to_write_must_be_given(write, arms_of, tmp_path) -> None:
    table = write(arms_of())
    for arguments in ((None, None, None, tmp_path), (tmp_path, table, None, tmp_path), (None, table, None, None)):
        with pytest.raises(PredictionsError):
            score_to_folder(*arguments)


@pytest.mark.parametrize("content", [None, "{}", "not json", '{"schema": "medmm.metrics/9"}'])
def test_results_of_another_kind_are_refused(tmp_path, content) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(PredictionsError, match=r"Expected a metrics\.json"):
        read_results(tmp_path / "metrics.json")
