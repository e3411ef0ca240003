"""`medmm eval recalibrate` as a command: it says whether it helped, and what it writes serves other patients only."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss
from typer.testing import CliRunner

from medmm.cli import app
from medmm.errors import LeakageError, PredictionsError, TaskError
from medmm.evaluation.files import read_results
from medmm.table import write_csv


@pytest.fixture
def cases(tmp_path):
    """(name, n, seed, times, ...) to a table of a site's cases whose log-odds are that many times too large."""

    def build(name="site", n=150, seed=0, times=3.0, logit_times=None, label=None):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=n)
        y = rng.random(n) < expit(z)
        rows = [
            {"sample_id": f"{name}{i}", "patient_id": f"{name}-p{i}", "label": label or ("no", "yes")[int(y[i])],
             "p__no": float(expit(-times * z[i])), "p__yes": float(expit(times * z[i]))}
            | ({} if logit_times is None else {"logit__no": 0.0, "logit__yes": float(logit_times * z[i])})
            for i in range(n)
        ]  # fmt: skip
        path = tmp_path / f"{name}.csv"
        write_csv(path, list(rows[0]), rows)
        return path

    return build


def recalibrate(*arguments):
    return CliRunner().invoke(app, ["eval", "recalibrate", *map(str, arguments)])


def test_a_site_where_the_model_is_far_off_is_told_in_words(cases) -> None:
    done = recalibrate(cases())
    assert done.exit_code == 0
    assert done.stdout.startswith("Recalibration helped: log-loss -0.")
    assert "cross-validated over 150 patients" in done.stdout
    assert "esearch use only" in done.stdout


def test_what_few_cases_do_not_show_cannot_be_told(cases) -> None:
    done = recalibrate(cases(times=1.0, n=60))
    assert done.exit_code == 0
    assert done.stdout.startswith("Whether recalibration helped cannot be told: ")


@pytest.mark.parametrize("seed", [0, 1])
def test_where_the_model_is_right_no_help_is_claimed_and_next_to_nothing_is_changed(cases, seed) -> None:
    done = recalibrate(cases(times=1.0, seed=seed), "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["helped"] is not True
    assert abs(found["difference"]) < 0.01


def test_with_json_the_finding_is_one_document(cases) -> None:
    found = json.loads(recalibrate(cases(), "--json", "--method", "temperature").stdout)
    rng = np.random.default_rng(0)
    z = rng.normal(size=150)
    y = rng.random(150) < expit(z)
    assert found["before"] == pytest.approx(log_loss(y, expit(3 * z)))
    assert (found["method"], found["n"], found["patients"], found["helped"]) == ("temperature", 150, 150, True)
    assert found["low"] < found["difference"] < found["high"] < 0
    assert found["verdict"].startswith("Recalibration helped")


def test_it_is_compared_with_the_probabilities_in_use_not_with_the_raw_logits(cases) -> None:
    """A model calibrated at home gives logits that are off and probabilities that are not."""
    found = json.loads(recalibrate(cases(times=1.0, logit_times=3.0), "--json").stdout)
    plain = json.loads(recalibrate(cases(times=1.0), "--json").stdout)
    assert found["before"] == pytest.approx(plain["before"])
    assert found["helped"] is None


def test_what_it_writes_improves_other_patients_and_is_refused_for_its_own(cases, tmp_path) -> None:
    site, later = cases(), cases("later", n=400, seed=1)
    task = tmp_path / "t.yaml"
    task.write_text("name: t\nlabels: ['no', 'yes']\nintervals: {replicates: 100, dear_replicates: 50}\n")
    assert recalibrate(site, "--task", task, "--out", tmp_path / "fitted").exit_code == 0
    assert [p.name for p in (tmp_path / "fitted").iterdir()] == ["recalibration.json"]
    assert "site-p1" not in (tmp_path / "fitted" / "recalibration.json").read_text(encoding="utf-8")
    score = ["eval", "score", "--task", str(task), "--fitted", str(tmp_path / "fitted"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*score, "--predictions", str(later)])
    assert done.exit_code == 0
    (found,) = read_results(tmp_path / "out" / "metrics.json").recalibration
    assert (found.method, found.split, found.n, found.helped) == ("map_scaling", "all", 150, True)
    assert isinstance(CliRunner().invoke(app, [*score, "--predictions", str(site)]).exception, LeakageError)


@pytest.mark.parametrize(
    ("given", "options", "error", "said"),
    [
        ({"n": 29}, [], PredictionsError, "at least 30 patients"),
        ({"label": "yes"}, [], PredictionsError, "one class only"),
        ({}, ["--method", "platz"], TaskError, "temperature"),
        ({}, ["--method", "vector"], TaskError, "multiclass"),
    ],
)
def test_what_cannot_be_recalibrated_is_refused_and_nothing_is_written(cases, tmp_path, given, options, error, said) -> None:
    done = recalibrate(cases(**given), *options, "--out", tmp_path / "fitted")
    assert isinstance(done.exception, error)
    assert said in str(done.exception)
    assert not (tmp_path / "fitted").exists()


def test_thirty_patients_are_enough_and_the_exit_code_of_a_refusal_is_two(cases) -> None:
    assert recalibrate(cases(n=30)).exit_code == 0
    done = recalibrate(cases(n=29), "--json")
    assert done.exit_code == 2
