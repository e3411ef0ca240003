"""How far the networks of one model disagree about a patient, in Chromium."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medmm import open_study
from medmm.inference import Predictor
from medmm.training import TrainConfig
from medmm.ui.words import WORDS

pytestmark = pytest.mark.browser
NOTE = "61-year-old. Lesion of 5.1 cm."


@pytest.fixture(scope="module")
def model(model_of: Callable[..., Path]) -> Path:
    """Three networks that read notes."""
    draw = np.random.default_rng(0)
    rows = ["study_id,patient_id,note,label"]
    for i in range(60):
        size = draw.uniform(1, 9)
        rows.append(f"s{i},p{i},{draw.integers(40, 85)}-year-old. Lesion of {size:.1f} cm.,{'large' if size > 5 else 'small'}")
    return model_of(rows, ("small", "large"), TrainConfig(epochs=3, width=16, members=3, tracker="none"))


def test_the_answer_says_how_far_its_networks_disagree_and_what_that_is_not(
    serve: Callable[..., Any], visitor: Callable[[str], Any], model: Path, tmp_path: Path
) -> None:
    server = serve(tmp_path / "temp", "-m", "medmm", "demo", "--port", "{port}", "--model", str(model))
    visit = visitor(server.url)
    page = visit.page
    page.fill("#note textarea", NOTE)
    visit.run()
    members = Predictor.load(model, "cpu").predict(open_study(None, note=NOTE)).members
    low, *_, high = sorted(member.probabilities["large"] for member in members)
    sentence = page.locator("#answer .mm-members summary")
    assert sentence.inner_text() == (f"3 networks that differ only in their random start: {low:.1%} to {high:.1%} for large.")
    told = page.get_by_text("It is no confidence interval")
    assert not told.is_visible()
    sentence.focus()
    page.keyboard.press("Enter")
    told.wait_for(state="visible")
    for name in ("medmm-answer.json", "medmm-answer.html"):
        with page.expect_download() as taken:
            page.click(f"a[download='{name}']")
        taken.value.save_as(tmp_path / name)
    assert len(json.loads((tmp_path / "medmm-answer.json").read_text())["by_member"]) == 3
    page.fill("#edited-note textarea", "61-year-old. Lesion of 8.9 cm.")
    page.wait_for_selector("#moved .mm-members")
    assert visit.console == []
    page.goto((tmp_path / "medmm-answer.html").as_uri())
    assert told.bounding_box()["height"] > 10  # on paper nothing can be opened


def test_a_model_may_be_called_what_a_label_of_the_page_is(
    serve: Callable[..., Any], visitor: Callable[[str], Any], model: Path, tmp_path: Path
) -> None:
    assert model.name in WORDS["en"]
    visit = visitor(serve(tmp_path / "temp", "-m", "medmm", "demo", "--port", "{port}", "--model", str(model)).url)
    page = visit.page
    assert page.input_value("#model input") == model.name
    page.click("role=tab[name='About']")
    page.wait_for_selector("#card h2", timeout=60_000)
    assert page.input_value("#about-model input") == model.name


def test_a_model_of_one_network_says_nothing_of_networks(visit: Any) -> None:
    visit.page.fill("#note textarea", NOTE)
    assert "networks" not in visit.run()
    assert visit.page.locator(".mm-members").count() == 0
