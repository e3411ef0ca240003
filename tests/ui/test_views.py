"""Pieces of the page as HTML: nothing from outside becomes markup, and every number is the right one."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from medmm.prediction import DISCLAIMER
from medmm.shelf import find_model
from medmm.ui import answer_views, study_views, views
from medmm.ui.words import say

Outlined = Callable[[str], Any]
HOSTILE = """<img src=x onerror=alert(1)></p><script>alert(2)</script>"'&amp;{{7*7}}${alert(3)}"""


def answer(label: str = "ill", said: str = "said", **changes: Any) -> dict[str, Any]:
    """What the model's process replies."""
    healthy = "not " + label
    return {
        "labels": [healthy, label],
        "probabilities": {healthy: 0.38, label: 0.62},
        "called": [label],
        "calibrated": True,
        "modalities": ["image", "text"],
        "by_modality": {"image": {healthy: 0.771, label: 0.229}, "text": {healthy: 0.15, label: 0.85}},
        "model": {"name": said, "sha256": "0123456789abcdef" * 4},
        "warnings": [{"code": "W_NOTE_CUT", "message": said}],
        "seconds": {"preprocess": 0.5, "network": 1.25},
        "note": {"characters": 4, "sections": [], "cut": True, "text_used": said},
    } | changes


def point(count: int, predicted: float, observed: float, low: float, high: float) -> dict[str, Any]:
    return {"count": count, "predicted": predicted, "observed": observed, "low": low, "high": high}


def model(label: str = "ill", said: str = "said", low: float | None = 0.61) -> dict[str, Any]:
    """What the model's process tells of itself, with results that can be checked by hand."""
    auroc = {"value": 0.7, "low": low, "high": None if low is None else 0.79}
    full = [point(20, 0.1, 0.05, 0.01, 0.24), point(8, 0.7, 0.75, 0.41, 0.93)]
    alone = [point(30, 0.64, 0.5, 0.33, 0.67)]
    arms = [
        {"name": name, "n": 28, "patients": 27, "metrics": {"auroc": auroc, "f1_macro": auroc}, "calibration": {label: {"bins": b}}}
        for name, b in (("full", full), ("image", alone), ("text", []))
    ]
    return {
        "name": said,
        "labels": ["not " + label, label],
        "modalities": ["image", "text"],
        "results": {"question": said, "task": said, "arms": arms},
        "card": said,
    }


def study(said: str = "said", source: str = "dicom") -> dict[str, Any]:
    geometry = {"shape": [150, 155, 55], "spacing_mm": [0.9766, 0.9766, 3.27], "plane": said, "modality": said, "unit": "HU"}
    return {"geometry": geometry, "source": source, "series": said, "rule": said, "left_out": [], "repairs": []}


PIECES: dict[str, Callable[[str], str]] = {
    "failure": lambda said: views.failure(said, said),
    "study": lambda said: study_views.study_facts(study(said), [{"code": said, "message": said}]),
    "answer": lambda said: answer_views.result(answer(said, said), model(said, said)),
    "members": lambda said: answer_views.result(answer(said, by_member=[answer(said)["probabilities"]] * 2), model(said, said)),
    "model": lambda said: views.model_facts(model(said, said)),
    "unmeasured model": lambda said: views.model_facts(model(said, said) | {"results": None}),
}


@pytest.mark.parametrize("piece", PIECES)
def test_nothing_from_outside_becomes_markup(outline: Outlined, piece: str) -> None:
    hostile, benign = outline(PIECES[piece](HOSTILE)), outline(PIECES[piece]("benign"))
    assert hostile.tags == benign.tags
    assert HOSTILE in hostile.text
    assert "benign" in benign.text


@pytest.mark.parametrize("piece", PIECES)
def test_every_opened_element_is_closed(piece: str) -> None:
    html = PIECES[piece]("benign")
    opened = [name for closing, name in re.findall(r"<(/?)(\w+)", html) if not closing]
    assert sorted(opened) == sorted(re.findall(r"</(\w+)", html))


def test_probabilities_are_shown_with_what_was_called_and_where_they_come_from(outline: Outlined) -> None:
    html = answer_views.result(answer(), model())
    shown = outline(html)
    assert re.findall(r"width:([\d.]+%)", html) == ["38.0%", "62.0%"]
    assert all(part in shown.text for part in ("38.0%", "62.0%", "1.75 s", "0123456789ab"))
    assert "0123456789abc" not in shown.text
    assert html.count("called</") == 1
    assert html.index("38.0%") < html.index("called</") < html.index("62.0%")
    assert DISCLAIMER in shown.text


def test_what_each_input_said_is_a_row_beside_the_whole(outline: Outlined) -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", answer_views.result(answer(), model()))
    assert [re.findall(r"[\d.]+%", row) for row in rows] == [[], ["22.9%"], ["85.0%"], ["62.0%"]]
    three = {"a": 0.2, "b": 0.3, "c": 0.5}
    many = answer(probabilities=three, called=["c"], by_modality={"image": three, "text": three}, calibrated=False)
    rows = re.findall(r"<tr>(.*?)</tr>", answer_views.result(many, model()))
    assert [re.findall(r"[\d.]+%", row) for row in rows] == [[]] + [["20.0%", "30.0%", "50.0%"]] * 3


def test_of_two_findings_that_hold_side_by_side_both_are_shown(outline: Outlined) -> None:
    both, half = {"nodule": 0.7, "effusion": 0.6}, {"nodule": 0.5, "effusion": 0.5}
    by_modality = {"image": {"nodule": 0.811, "effusion": 0.622}, "text": half}
    said = answer(probabilities=both, called=[], by_modality=by_modality, by_member=[both, half], calibrated=False)
    text = outline(answer_views.result(said, model())).text
    for shown in ("81.1%", "62.2%", "50.0% to 70.0% for nodule", "50.0% to 60.0% for effusion"):
        assert shown in text


def test_how_far_networks_disagree_is_one_sentence_that_says_what_it_is_not(outline: Outlined) -> None:
    members = [{"not ill": 1 - p, "ill": p} for p in (0.55, 0.214, 0.3)]
    several, one = (outline(answer_views.result(a, model())).text for a in (answer(by_member=members), answer()))
    assert "3 networks that differ only in their random start: 21.4% to 55.0% for ill. " in several
    assert "no confidence interval" in several
    assert "networks" not in one
    many = [{"a": 0.2, "b": 0.3, "c": 0.5}, {"a": 0.1, "b": 0.3, "c": 0.6}]
    text = outline(
        answer_views.result(answer(probabilities=many[0], by_modality={}, by_member=many, calibrated=False), model())
    ).text
    assert "10.0% to 20.0% for a; 30.0% to 30.0% for b; 50.0% to 60.0% for c." in text


def test_one_input_alone_needs_no_comparison(outline: Outlined) -> None:
    single = answer(modalities=["image"], by_modality={"image": {"not ill": 0.38, "ill": 0.62}})
    assert not [tag for tag in outline(answer_views.result(single, model())).tags if tag[0] == "table"]


def test_the_track_record_is_that_of_the_nearest_probability(outline: Outlined) -> None:
    text = outline(answer_views.result(answer(), model())).text
    # 0.62 is nearest to the point at 0.7: 8 patients, three quarters of them ill.
    assert re.search(r"\b8\b.*\b70%.*\b6\b \(75%.*\b41%.*\b93%", text)
    low = answer(probabilities={"not ill": 0.61, "ill": 0.39})
    assert re.search(r"\b20\b.*\b10%.*\b1\b \(5%.*\b1%.*\b24%", outline(answer_views.result(low, model())).text)


def test_the_track_record_is_that_of_the_inputs_given(outline: Outlined) -> None:
    image = answer(modalities=["image"], by_modality={"image": {"not ill": 0.38, "ill": 0.62}})
    text = outline(answer_views.result(image, model())).text
    assert re.search(r"\b30\b.*\b64%.*\b15\b \(50%", text)
    assert "75%" not in text


@pytest.mark.parametrize(
    ("changes", "measured"),
    [
        ({"calibrated": False}, True),
        ({}, False),
        ({"modalities": ["text"]}, True),  # measured, but nobody was scored
        ({"modalities": ["video"]}, True),
    ],
)
def test_without_a_calibration_or_a_measurement_no_record_is_claimed(
    outline: Outlined, changes: dict[str, Any], measured: bool
) -> None:
    about = model() if measured else model() | {"results": None}
    text = outline(answer_views.result(answer(**changes), about)).text
    assert "62.0%" in text
    assert not re.search(r"\bof \d+ ", text, re.IGNORECASE)
    assert not {"75%", "50%"} & set(re.findall(r"\b\d+%", text))


def test_a_score_that_is_not_calibrated_is_not_called_a_probability(outline: Outlined) -> None:
    calibrated, raw = (outline(answer_views.result(answer(calibrated=c), model())).text for c in (True, False))
    assert "calibrated probability" in calibrated.lower()
    assert "calibrated probability" not in raw.lower()
    assert "not a probability" in raw.lower()


@pytest.mark.parametrize(("low", "modest"), [(0.61, False), (0.501, False), (0.5, True), (0.45, True), (None, True)])
def test_a_model_not_proven_better_than_chance_says_so(outline: Outlined, low: float | None, modest: bool) -> None:
    text = outline(views.model_facts(model(low=low))).text
    assert ("chance" in text) == modest
    assert re.search(r"\b28\b.*\b27\b.*\b0\.70", text)
    assert (f"[{low:.2f}, 0.79]" in text) if low is not None else ("[" not in text)


def test_an_undefined_metric_is_not_a_number(outline: Outlined) -> None:
    undefined = model()
    undefined["results"]["arms"][0]["metrics"]["auroc"] = {"value": None, "low": None, "high": None}
    text = outline(views.model_facts(undefined)).text
    assert "undefined" in text
    assert "None" not in text
    assert "chance" in text


def test_the_shipped_model_is_as_modest_as_its_results(outline: Outlined) -> None:
    results = json.loads((find_model("sts51") / "results.json").read_text())
    auroc = results["arms"][0]["metrics"]["auroc"]
    text = outline(views.model_facts(model() | {"results": results})).text
    assert f"{auroc['value']:.2f} [{auroc['low']:.2f}, {auroc['high']:.2f}]" in text
    assert ("chance" in text) == (auroc["low"] <= 0.5)
    better = copy.deepcopy(results)
    better["arms"][0]["metrics"]["auroc"]["low"] = 0.51
    assert "chance" not in outline(views.model_facts(model() | {"results": better})).text


@pytest.mark.parametrize(("source", "millimetres"), [("dicom", True), ("nifti", True), ("picture", False)])
def test_facts_of_a_study_state_millimetres_only_where_there_are_any(outline: Outlined, source: str, millimetres: bool) -> None:
    text = outline(study_views.study_facts(study(source=source), [])).text
    assert "150 x 155 x 55" in text
    assert ("0.9766 x 0.9766 x 3.27 mm" in text) == millimetres


def test_no_warnings_no_list(outline: Outlined) -> None:
    assert not [tag for tag in outline(study_views.study_facts(study(), [])).tags if tag[0] in ("ul", "li")]
    two = [{"code": "W_A", "message": "one"}, {"code": "W_B", "message": "two"}]
    assert outline(study_views.study_facts(study(), two)).text.endswith("W_A one W_B two")


def test_the_banner_is_the_disclaimer(outline: Outlined) -> None:
    assert DISCLAIMER in outline(views.banner(say("en", "banner"))).text
