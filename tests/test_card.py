"""The model card: complete before it is measured, and true after."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from medmm.card import render_card, with_measured
from medmm.evaluation.predictions import Predictions
from medmm.evaluation.score import score
from medmm.evaluation.task import Task
from medmm.model import ModelConfig
from medmm.model_folder import read_config
from medmm.prediction import DISCLAIMER
from medmm.shelf import find_model
from medmm.store import Record


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return read_config(json.loads((find_model("sts51") / "config.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def card(config) -> str:
    return render_card("lungs", config, ["Thirty patients.", "Five folds."], ["image+text", "text"])


def body(card: str) -> str:
    return card.split("---\n", 2)[2]


def results(n: int, labels=("no", "yes"), one_class: bool = False):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        p = float(rng.random())
        y = 0.0 if one_class else float(rng.random() < p)
        rows.append(Record(f"s{i}", f"p{i}", i, "full", target=(1 - y, y), probability=(1 - p, p)))
    return score(Predictions("binary", labels, tuple(rows), {}), Task(name="lungs", version=3, intervals={"replicates": 100}))


def test_a_card_says_what_the_model_is_and_that_it_is_not_a_device(card, config) -> None:
    assert card.startswith("---\nlibrary_name: medmm\n")
    for said in ("# lungs", DISCLAIMER, *config.labels, "Thirty patients.", "image+text, text", config.fusion, "HU", "## Limits"):
        assert said in card


def test_a_model_that_was_not_measured_or_calibrated_says_so(card, config) -> None:
    assert "Not measured yet" in card
    assert "Probabilities are calibrated for: nothing." in render_card("lungs", config, [], [])


def test_measured_numbers_replace_the_old_ones_and_nothing_else(card) -> None:
    first, second = (with_measured(card, results(n)) for n in (40, 60))
    assert "Not measured yet" not in first
    assert "Task lungs version 3, split all: 40 samples of 40 patients" in first
    found = results(40).arms[0].metrics
    assert f"| full | 40 | {found['auroc'].value:.3f} [{found['auroc'].low:.3f}, {found['auroc'].high:.3f}] |" in first
    assert with_measured(first, results(60)) == second
    before, after = body(card).split("Not measured yet")[0], card.split("<!-- measured: end -->")[1]
    assert body(second).startswith(before)
    assert second.endswith(after)


def test_the_header_holds_the_numbers_for_machines_and_keeps_the_rest(card) -> None:
    headers = [yaml.safe_load(text.split("---\n")[1]) for text in (card, with_measured(card, results(40)))]
    (entry,) = headers[1].pop("model-index")
    assert headers[1] == headers[0]
    assert entry["name"] == "lungs"
    assert entry["results"][0]["metrics"][0]["value"] == pytest.approx(results(40).arms[0].metrics["auroc"].value, abs=1e-6)


def test_a_card_without_header_gets_none(card) -> None:
    assert with_measured(body(card), results(40)) == body(with_measured(card, results(40)))


def test_notes_of_the_results_are_on_the_card(card) -> None:
    measured = results(10)
    for note in measured.notes:
        assert note in with_measured(card, measured)


def test_an_undefined_number_is_not_made_up(card) -> None:
    assert "| full | 10 | undefined |" in with_measured(card, results(10, one_class=True))
