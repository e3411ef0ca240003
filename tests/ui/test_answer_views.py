"""How an answer moves, and what is taken away of it: whole, self-contained, escaped."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medmm import open_study
from medmm.inference import load_model
from medmm.prediction import DISCLAIMER
from medmm.shelf import examples, find_model
from medmm.ui import answer_views, tasks

Outlined = Callable[[str], Any]


@pytest.fixture(scope="module")
def answered() -> dict[str, Any]:
    """The document of a real answer to a note that tries to be markup."""
    return (
        load_model("sts51", "cpu")
        .predict(open_study(examples()[0].path, note="<script>alert(1)</script> sarcoma of the thigh"))
        .to_dict(with_text=True)
    )


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    return tasks.warm(str(find_model("sts51")))


def contents(html: str) -> dict[str, str]:
    """What each link gives, by the name of the file."""
    links = re.findall(r'download="([^"]+)" href="data:[^,]+;base64,([^"]+)"', html)
    return {name: base64.b64decode(content).decode() for name, content in links}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_downloaded_is_the_answer(
    answered: dict[str, Any], about: dict[str, Any], outline: Outlined, language: Any
) -> None:
    given = contents(answer_views.downloads(answered, about, language))
    assert json.loads(given["medmm-answer.json"]) == answered
    page = given["medmm-answer.html"]
    shown = outline(page)
    for p in answered["probabilities"].values():
        assert f"{p:.1%}" in shown.text
    assert answered["model"]["sha256"][:12] in shown.text
    assert "<script" not in page
    assert "<script>alert(1)</script>" in shown.text  # the note is shown as it was read
    assert not re.search(r"""(src|href)=|url\(|@import""", page)  # it asks nobody for anything
    if language == "en":
        assert DISCLAIMER in shown.text


def changed(base: dict[str, Any], p: float, *warnings: str) -> dict[str, Any]:
    low, high = base["probabilities"]
    told = [{"code": code, "message": "<b>said</b>"} for code in warnings]
    return {**base, "probabilities": {low: 1 - p, high: p}, "warnings": [*base["warnings"], *told], "modalities": ["text"]}


def test_a_change_is_told_in_percentage_points_and_only_what_is_new_is_warned_of(
    answered: dict[str, Any], outline: Outlined
) -> None:
    base = changed(answered, 0.30)
    text = outline(answer_views.compared(base, changed(answered, 0.42, "W_NO_IMAGE"))).text
    assert "30.0% 42.0% +12.0" in text
    assert "70.0% 58.0% -12.0" in text
    assert text.count("W_") == 1
    assert "<b>said</b>" in text


def test_a_change_is_told_beside_how_far_the_networks_disagree_now(answered: dict[str, Any], outline: Outlined) -> None:
    base, now = changed(answered, 0.30), changed(answered, 0.42)
    low, high = now["probabilities"]
    members = {"by_member": [{low: 1 - p, high: p} for p in (0.31, 0.52)]}
    assert "31.0% to 52.0%" in outline(answer_views.compared(base, now | members)).text
    assert "31.0%" not in outline(answer_views.compared(base | members, now)).text


@pytest.mark.parametrize(
    ("phase", "place", "left", "told"),
    [
        ("", 2, None, "2 before you"),
        ("network", 0, 3.6, "Computing"),
        ("network", 0, 3.6, "4 s"),
        ("unheard of", 0, None, "Starting"),
    ],
)
def test_where_an_answer_stands(outline: Outlined, phase: str, place: int, left: float | None, told: str) -> None:
    assert told in outline(answer_views.progress(phase, place, left)).text


def test_a_page_to_print_stands_alone_on_disk(answered: dict[str, Any], about: dict[str, Any], tmp_path: Path) -> None:
    page = answer_views.one_page(answered, about)
    assert page.startswith("<!doctype html>")
    assert page.count("<style>") == page.count("</style>") == 1
    assert str(tmp_path.parent) not in page
