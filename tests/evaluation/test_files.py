"""`medmm eval score` as a stranger would call it: on a bare machine, with anybody's predictions."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from medmm.errors import PredictionsError, TaskError
from medmm.evaluation.exchange import import_predictions
from medmm.evaluation.files import fit_to_folder, gate, read_results, score_to_folder

ARMS = ["arm full", "arm image", "arm text", "arm prevalence"]
PHASES = [*ARMS, "prediction sets", "comparisons", "subgroups", "robustness", "further tasks", "failures"]
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
    assert done.returncode == 0, done.stderr
    said = [line.partition(": ") for line in done.stderr.splitlines()]
    assert [name for name, _, _ in said] == ["reading", "partition", *PHASES, "report"]
    assert all(seconds.endswith(" s") for _, _, seconds in said)
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
    (tmp_path / "t.yaml").write_text("name: turned\nlabels: ['yes', 'no']\nintervals: {replicates: 100, dear_replicates: 50}\n")
    results = score_to_folder(None, write(arms_of()), tmp_path / "t.yaml", tmp_path / "out")
    assert (results.task, results.labels, results.intervals.replicates) == ("turned", ("yes", "no"), 100)
    assert "sensitivity[no]" in results.arms[0].metrics


@pytest.mark.parametrize("metric", ["log_loss", "f1_macro"])
def test_a_task_that_leaves_auroc_out_has_its_report_all_the_same(write, arms_of, tmp_path, metric) -> None:
    task = tmp_path / "few.yaml"
    task.write_text(f"name: few\nmetrics: [{metric}]\nintervals: {{replicates: 100}}\n")
    score_to_folder(None, write(arms_of()), task, tmp_path / "out")
    assert "the task leaves AUROC out" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


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


def run_of(rows, write, tmp_path, task="name: t\nlabels: ['no', 'yes']\nintervals: {replicates: 100, dear_replicates: 50}\n"):
    """A run folder made of a table."""
    (tmp_path / "task.yaml").write_text(task)
    import_predictions(write(rows), tmp_path / "run", tmp_path / "task.yaml")
    return tmp_path / "run"


def split_rows(arms_of):
    """Rows of the full arm, the first 30 patients to tune on."""
    return [row | {"split": "val" if i < 30 else "test"} for i, row in enumerate(r for r in arms_of(90) if r["arm"] == "full")]


def test_what_is_fitted_in_a_run_folder_is_used_when_it_is_scored(write, arms_of, tmp_path) -> None:
    run = run_of(split_rows(arms_of), write, tmp_path)
    assert score_to_folder(run, None, None, None).arms[0].decision.policy == "fixed"
    fitted = fit_to_folder(run, None, None, {"thresholds": {"policy": "youden"}, "recalibration": {"method": "temperature"}})
    assert {p.name for p in run.glob("*.json")} == {"run.json", "metrics.json", "thresholds.json", "recalibration.json"}
    results = score_to_folder(run, None, None, None)
    assert (results.arms[0].decision.policy, results.arms[0].decision.thresholds) == ("youden", fitted.thresholds.by_arm["full"])
    assert results.recalibration[0].method == "temperature"
    assert results.partition is not None
    assert results.partition.samples == {"test": 60, "val": 30}


def test_a_task_that_asks_for_nothing_or_for_the_scored_split_fits_nothing(write, arms_of, tmp_path) -> None:
    run = run_of(split_rows(arms_of), write, tmp_path)
    with pytest.raises(TaskError, match="State a policy"):
        fit_to_folder(run, None, None, {})
    with pytest.raises(TaskError, match="another split"):
        fit_to_folder(run, None, None, {"thresholds": {"policy": "youden", "split": "test"}})
    with pytest.raises(PredictionsError, match="--out"):
        fit_to_folder(write(split_rows(arms_of)), None, None, {"thresholds": {"policy": "youden"}})


def test_patients_on_both_sides_of_a_split_end_with_their_code(medmm, write, arms_of, tmp_path) -> None:
    rows = split_rows(arms_of)
    rows[0]["patient_id"] = rows[-1]["patient_id"]
    done = medmm("eval", "score", "--predictions", write(rows), "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert "E_LEAKAGE: " in done.stderr
    assert not (tmp_path / "out").exists()


def test_two_tables_are_compared_from_the_command_line(medmm, write, arms_of, tmp_path) -> None:
    good, poor = ([r | {"arm": ""} for r in arms_of() if r["arm"] == arm] for arm in ("full", "text"))
    first, second = (write(rows).rename(tmp_path / f"{name}.csv") for name, rows in (("good", good), ("poor", poor)))
    done = medmm("eval", "compare", first, second, "--endpoint", "auroc", "--margin", "0.05", "--test", "delong,permutation",
                 "--correction", "bh", "--out", tmp_path / "out", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (found["first"]["name"], found["second"]["name"], found["n"]) == ("good", "poor", 60)
    assert {c["test"] for c in found["comparisons"]} == {"delong", "permutation"}
    assert {c["correction"] for c in found["comparisons"]} == {"bh"}
    assert medmm("eval", "compare", first, second, "--test", "wishful").returncode == 2
    printed = medmm("eval", "compare", first, second).stdout
    assert "good minus poor: 60 samples of 60 patients" in printed
    assert "Research use only" in printed


@pytest.mark.parametrize(
    ("rule", "status"), [("auroc >= 0.5", 0), ("auroc >= 0.999", 1), ("aurok >= 0.5", 2), ("delta.auroc >= -1", 0)]
)
def test_the_gate_ends_with_0_1_or_2(medmm, write, arms_of, tmp_path, rule, status) -> None:
    run = run_of([r for r in arms_of() if r["arm"] == "full"], write, tmp_path)
    score_to_folder(run, None, None, None)
    (tmp_path / "rules.yaml").write_text(f'rules: ["{rule}", "n >= 10"]')
    done = medmm("eval", "gate", run, "--rules", tmp_path / "rules.yaml", "--baseline", run, "--junit", tmp_path / "junit.xml")
    assert done.returncode == status, done.stderr
    if status == 2:
        assert "Did you mean auroc" in done.stderr
        assert not (tmp_path / "junit.xml").exists()
    else:
        xml = (tmp_path / "junit.xml").read_text()
        assert ('tests="2"' in xml, f'failures="{status}"' in xml) == (True, True)


def test_rules_and_tasks_that_say_a_thing_twice_stop_the_command(medmm, write, arms_of, tmp_path) -> None:
    run = run_of([r for r in arms_of() if r["arm"] == "full"], write, tmp_path)
    score_to_folder(run, None, None, None)
    (tmp_path / "rules.yaml").write_text('rules: ["auroc >= 0.999"]\nrules: ["n >= 10"]\n')
    (tmp_path / "twice.yaml").write_text("name: t\nlabels: [a, b]\nlabels: [b, a]\n")
    for arguments, said in (
        (("gate", run, "--rules", tmp_path / "rules.yaml"), "'rules' stands twice, in lines 1 and 2"),
        (("validate", tmp_path / "twice.yaml"), "'labels' stands twice, in lines 2 and 3"),
    ):
        done = medmm("eval", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert str(tmp_path) not in done.stderr


def test_a_run_that_was_not_scored_or_changed_since_has_no_gate(write, arms_of, tmp_path) -> None:
    run = run_of([r for r in arms_of() if r["arm"] == "full"], write, tmp_path, "name: t\ngate: ['n >= 1']\n")
    with pytest.raises(PredictionsError, match="medmm eval score"):
        gate(run, None, None)
    results = score_to_folder(run, None, None, None)
    assert [c.passed for c in gate(run, None, None)[1]] == [True]
    (run / "metrics.json").write_text(results.model_copy(update={"source": {"type": "other"}}).to_json())
    with pytest.raises(PredictionsError, match="about others"):
        gate(run, None, None)


def test_runs_are_listed_shown_and_tasks_validated(medmm, write, arms_of, tmp_path) -> None:
    run = run_of(arms_of(), write, tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    listed = json.loads(medmm("eval", "ls", tmp_path, "--json").stdout)
    assert [(e["run"], e["scored"], e.get("error")) for e in listed] == [("broken", False, "E_STORE"), ("run", False, None)]
    assert (listed[1]["task"], listed[1]["status"], listed[1]["samples"]) == ("t", "finished", 60)
    score_to_folder(run, None, None, None)
    assert "scored" in medmm("eval", "ls", tmp_path).stdout
    shown = medmm("eval", "show", run).stdout
    assert "cal_slope" in shown
    assert medmm("eval", "show", tmp_path).returncode == 2
    assert "follows the contract" in medmm("eval", "validate", tmp_path / "task.yaml").stdout
    (tmp_path / "task.yaml").write_text("name: t\nsubgroups: {column: [sex]}\n")
    done = medmm("eval", "validate", tmp_path / "task.yaml")
    assert done.returncode == 2
    assert "subgroups.column: there is no such key. Did you mean columns?" in done.stderr
