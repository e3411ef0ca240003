"""The form of a model that reads a patient's values, in Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medmm.training import TrainConfig

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::medmm.leakage.LeakageWarning"),  # age gives the label away on purpose
]


@pytest.fixture(scope="module")
def model(model_of: Callable[..., Path]) -> Path:
    """Reads age and sex beside the note."""
    draw = np.random.default_rng(0)
    rows = ["study_id,patient_id,note,age,sex,label"]
    for i in range(60):
        age, sex = draw.integers(20, 90), draw.choice(["female", "male"])
        rows.append(f"s{i},p{i},a cough,{age},{sex},{'ill' if age > 55 else 'well'}")
    return model_of(rows, ("well", "ill"), TrainConfig(tabular=("age", "sex"), units={"age": "years"}, epochs=8, width=16))


def test_values_are_asked_for_as_the_model_reads_them_and_move_its_answer(
    serve: Callable[..., Any], visitor: Callable[[str], Any], model: Path, tmp_path: Path
) -> None:
    server = serve(tmp_path / "temp", "-m", "medmm", "demo", "--port", "{port}", "--model", str(model))
    visit = visitor(server.url)
    page = visit.page
    page.wait_for_selector("#values input", timeout=60_000)
    assert "age (years)" in page.inner_text("#values")
    page.fill("#note textarea", "a cough")
    assert "from text" in visit.run().split("\n")[0]
    shown = []
    for age in ("80", "25"):
        page.get_by_label("age (years)").click()
        page.keyboard.press("Control+a")
        page.keyboard.type(age)
        page.wait_for_timeout(800)
        page.evaluate("document.querySelector('#answer .mm-result').dataset.seen = 1")
        page.click("#run")
        page.wait_for_selector("#answer .mm-result:not([data-seen])", timeout=60_000)
        assert "from text and values" in page.inner_text("#answer")
        shown.append(page.inner_text("#answer .mm-bars"))
    assert shown[0] != shown[1]
    page.get_by_label("age (years)").click()
    page.keyboard.type("x")
    page.wait_for_timeout(800)
    page.click("#run")
    page.wait_for_selector("#answer .mm-error:has-text('E_VALUES')", timeout=60_000)
    assert visit.console == []
