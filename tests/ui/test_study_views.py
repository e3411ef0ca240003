"""What was uploaded and written, in words: every series, every reason, nothing from outside as markup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from medmm.settings import LIMITS
from medmm.ui import study_views

Outlined = Callable[[str], Any]
HOSTILE = "<img src=x onerror=alert(1)></td><script>alert(2)</script>\"'&amp;"


def series(said: str, code: str | None = None, chosen: bool = False, shape: list[int] | None = None) -> dict[str, Any]:
    return {
        "description": said, "kind": said, "values": said, "files": 12, "code": code, "message": said, "chosen": chosen,
        "name": "1.2", "geometry": {"shape": shape, "spacing_mm": [0.5, 0.5, 2.5]} if shape else None,
    }  # fmt: skip


def inspection(said: str = "said") -> dict[str, Any]:
    found = [series(said, chosen=True, shape=[512, 512, 12]), series(said), series(said, code="E_MISSING_SLICES")]
    return {"found": found, "others": [{"kind": said, "files": 3}], "left_out": [[said, 2]], "identifiers": [said]}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_series_is_a_row_with_its_verdict(outline: Outlined, language: Any) -> None:
    html = study_views.verdict(inspection(), language)
    rows = html.split("<tbody>")[1].split("</tbody>")[0].split("</tr>")[:-1]
    assert len(rows) == 3
    assert ["mm-chosen" in row for row in rows] == [True, False, False]
    assert ["E_MISSING_SLICES" in row for row in rows] == [False, False, True]
    assert "512 x 512 x 12" in outline(rows[0]).text
    assert "0.5 x 0.5 x 2.5 mm" in outline(rows[0]).text or language == "zh"
    assert outline(html).tags[("li",)] == 2


def test_nothing_in_a_header_becomes_markup(outline: Outlined) -> None:
    hostile, benign = (outline(study_views.verdict(inspection(said))) for said in (HOSTILE, "benign"))
    assert hostile.tags == benign.tags
    assert HOSTILE in hostile.text


def test_headers_without_names_are_said_to_be_so(outline: Outlined) -> None:
    clean = outline(study_views.verdict({**inspection(), "identifiers": []})).text
    assert "Nothing that names a patient" in clean
    assert "Nothing that names a patient" not in outline(study_views.verdict(inspection())).text


def test_an_empty_note_is_said_to_be_none(outline: Outlined) -> None:
    assert "No note yet" in outline(study_views.note_facts(" \n", None)).text


def test_the_sections_of_a_note_are_named(outline: Outlined) -> None:
    note = "History: a fall.\nFindings: no bleeding.\nImpression: normal."
    text = outline(study_views.note_facts(note, None)).text
    assert f"{len(note)} of at most {LIMITS.note_chars:,} characters" in text
    assert all(name in text for name in ("findings", "impression"))
    assert "No section headings" in outline(study_views.note_facts("a fall", None)).text


def test_a_note_that_is_read_in_full_says_so_and_a_cut_one_shows_what_was_read(outline: Outlined) -> None:
    full = outline(study_views.note_facts("a fall", {"text_used": "a fall", "warnings": []})).text
    assert "All of it is read" in full
    cut = {"text_used": HOSTILE, "warnings": [{"code": "W_NOTE_CUT", "message": HOSTILE}]}
    shown = outline(study_views.note_facts("a fall", cut)).text
    assert "All of it is read" not in shown
    assert shown.count(HOSTILE) == 2
    assert "W_NOTE_CUT" in shown
