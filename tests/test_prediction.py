"""The JSON document of `medmm predict`."""

from __future__ import annotations

import json
from typing import Any

from medmm.prediction import DISCLAIMER, Answer, Prediction
from medmm.study import Note, Notice, Study


def test_the_document_says_everything_and_is_plain_json() -> None:
    answer = Answer({"no": 0.25, "yes": 0.75}, {"no": -1.0, "yes": 0.1}, ("yes",), calibrated=True)
    single = {"text": Answer({"no": 0.4, "yes": 0.6}, {"no": 0.0, "yes": 0.0}, ("yes",), calibrated=False)}
    notices = (Notice("W_NO_IMAGE", "No image was given."),)
    made = Prediction("text", answer, single, Study().summary(), {"name": "m", "sha256": "0"}, notices, {"network": 0.12345})
    assert json.loads(json.dumps(made.to_dict())) == {
        "labels": ["no", "yes"],
        "probabilities": {"no": 0.25, "yes": 0.75},
        "called": ["yes"],
        "calibrated": True,
        "modalities": ["text"],
        "by_modality": {"text": {"no": 0.4, "yes": 0.6}},
        "tasks": {},
        "geometry": None,
        "series": {"source": "", "series": "", "rule": "", "left_out": [], "repairs": []},
        "note": None,
        "model": {"name": "m", "sha256": "0"},
        "warnings": [{"code": "W_NO_IMAGE", "message": "No image was given."}],
        "seconds": {"network": 0.123},
        "disclaimer": DISCLAIMER,
    }


def test_the_document_says_what_of_the_note_was_read() -> None:
    answer = Answer({"no": 0.25, "yes": 0.75}, {"no": -1.0, "yes": 0.1}, ("yes",), calibrated=True)
    study = Study(note=Note("History: cough.\nFindings: a mass of 3 cm.", encoding="cp1252"))
    cut = (Notice("W_NOTE_CUT", "Only a part was read."),)
    made = Prediction("text", answer, {"text": answer}, study.summary(), {"name": "m", "sha256": "0"}, cut, {}, "History: cough.")
    said = {
        "characters": 41,
        "encoding": "cp1252",
        "sections": [{"name": "indication", "characters": 6}, {"name": "findings", "characters": 15}],
        "characters_used": 15,
        "cut": True,
    }
    assert made.to_dict()["note"] == said
    assert made.to_dict(with_text=True)["note"] == {**said, "text_used": "History: cough."}


def test_the_document_says_what_each_network_of_several_says() -> None:
    answers = [Answer({"no": 1 - p, "yes": p}, {"no": 0.0, "yes": 0.0}, ("no",), calibrated=True) for p in (0.2, 0.4)]
    about: tuple[Any, ...] = ({}, Study().summary(), {"name": "m", "sha256": "0"})
    one, several = (Prediction("text", answers[0], *about, members=members).to_dict() for members in ((), tuple(answers)))
    assert several.pop("by_member") == [{"no": 0.8, "yes": 0.2}, {"no": 0.6, "yes": 0.4}]
    assert several == one
