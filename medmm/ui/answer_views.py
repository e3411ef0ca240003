"""An answer, how it changes, and how it is taken away, as HTML text; every value that came from outside is escaped."""

from __future__ import annotations

import base64
import json
import math
from html import escape
from pathlib import Path
from typing import Any

from medmm.ui.study_views import study_facts
from medmm.ui.views import banner, readable, warning_list, working
from medmm.ui.words import TAGS, Language, known, say

_STYLE = Path(__file__).parent / "static" / "page.css"
_ON_PAPER = """
body { font: 16px/1.45 system-ui, sans-serif; color: #1b2430; background: #fff; margin: 0; }
main { max-width: 46rem; margin: 0 auto; padding: 1.2rem; }
.mm-fill, .mm-track { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.mm-members::details-content { content-visibility: visible; block-size: auto; }
@media print { main { padding: 0; } .mm-used { max-height: none; } }
"""


def result(prediction: dict[str, Any], model: dict[str, Any], language: Language = "en") -> str:
    """The answer: probabilities, how far they were right before, what each input said, warnings, timing."""
    called = say(language, "called")
    bars = "".join(
        _bar(label, p, called if label in prediction["called"] else "") for label, p in prediction["probabilities"].items()
    )
    kind = say(language, "calibrated" if prediction["calibrated"] else "uncalibrated")
    inputs = say(language, "and").join(known(language, name, name) for name in prediction["modalities"])
    parts = [
        f'<h3>{kind} <span class="mm-muted">{escape(say(language, "from", inputs=inputs))}</span></h3>',
        f'<div class="mm-bars">{bars}</div>',
        _members(prediction, language),
        _track_record(prediction, model, language),
        _by_modality(prediction, language),
        warning_list(prediction["warnings"]),
        _text_used(prediction, language),
        f'<p class="mm-muted">{escape(_made_by(prediction, language))}</p>',
        banner(say(language, "research_only")),
    ]
    return f'<section class="mm-result" aria-live="polite">{"".join(parts)}</section>'


def _bar(label: str, p: float, called: str) -> str:
    mark = f' <span class="mm-called">{called}</span>' if called else ""
    return (
        f'<div class="mm-bar"><span class="mm-label">{readable(label)}{mark}</span>'
        f'<span class="mm-track"><span class="mm-fill" style="width:{p:.1%}"></span></span>'
        f'<span class="mm-number">{p:.1%}</span></div>'
    )


def _members(prediction: dict[str, Any], language: Language) -> str:
    """How far the networks of a model disagree about the patient, and what that is not; nothing where it is one network."""
    members = prediction.get("by_member")
    if not members:
        return ""
    said = {label: [member[label] for member in members] for label in _shown(prediction)}
    ranges = [say(language, "member_range", label=readable(k), low=f"{min(p):.1%}", high=f"{max(p):.1%}") for k, p in said.items()]
    sentence = say(language, "members", count=len(members), ranges="; ".join(ranges))
    help_ = f'<p class="mm-muted">{say(language, "members_help")}</p>'
    return f'<details class="mm-members"><summary>{sentence}</summary>{help_}</details>'


def _shown(prediction: dict[str, Any]) -> list[str]:
    """Labels whose probabilities say everything: of two the second, but where each may hold with or without the other."""
    p = prediction["probabilities"]
    return list(p)[1:] if len(p) == 2 and math.isclose(sum(p.values()), 1, abs_tol=1e-6) else list(p)


def _track_record(prediction: dict[str, Any], model: dict[str, Any], language: Language) -> str:
    """How often patients with such a probability turned out to have the label."""
    results = model["results"]
    if results is None or not prediction["calibrated"]:
        return ""
    full_pattern = sorted(prediction["modalities"]) == sorted(model["modalities"])
    name = "full" if full_pattern else "+".join(prediction["modalities"])
    arm = next((a for a in results["arms"] if a["name"] == name), None)
    if arm is None:
        return ""
    probabilities = prediction["probabilities"]
    sentences = [_sentence(label, probabilities[label], found, language) for label, found in arm["calibration"].items()]
    return f'<p class="mm-record">{" ".join(s for s in sentences if s)}</p>'


def _sentence(label: str, p: float, calibration: dict[str, Any], language: Language) -> str:
    if not calibration["bins"]:
        return ""
    nearest = min(calibration["bins"], key=lambda b: abs(b["predicted"] - p))
    shares = {key: f"{nearest[key]:.0%}" for key in ("predicted", "observed", "low", "high")}
    hits = round(nearest["observed"] * nearest["count"])
    return say(language, "record", count=nearest["count"], label=readable(label), hits=hits, **shares)


def _by_modality(prediction: dict[str, Any], language: Language) -> str:
    single = prediction["by_modality"]
    if len(single) < 2:
        return ""
    shown = _shown(prediction)
    head = "".join(f'<th scope="col">{readable(label)}</th>' for label in shown)
    rows = [(known(language, f"{name}_alone", name), p) for name, p in single.items()]
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{p[label]:.1%}</td>" for label in shown)}</tr>'
        for name, p in [*rows, (say(language, "together"), prediction["probabilities"])]
    )
    caption = f'<th scope="col">{say(language, "who_says")}</th>'
    return f'<table class="mm-table"><thead><tr>{caption}{head}</tr></thead><tbody>{body}</tbody></table>'


def _text_used(prediction: dict[str, Any], language: Language) -> str:
    """The part of the note that was read."""
    note = prediction["note"]
    if note is None or not note["text_used"]:
        return ""
    used = f'<div class="mm-used">{escape(note["text_used"])}</div>'
    return f"<details{' open' if note['cut'] else ''}><summary>{say(language, 'text_read')}</summary>{used}</details>"


def _made_by(prediction: dict[str, Any], language: Language) -> str:
    model = prediction["model"]
    seconds = f"{sum(prediction['seconds'].values()):.2f}"
    return say(language, "made_by", seconds=seconds, model=model["name"], digest=model["sha256"][:12])


def progress(phase: str, place: int, seconds_left: float | None, language: Language = "en") -> str:
    """Where an answer stands that is being worked out."""
    told = say(language, "in_line", place=place) if place else known(language, f"phase_{phase}", say(language, "phase_"))
    return working(told, "" if seconds_left is None else say(language, "left", seconds=max(1, round(seconds_left))))


def compared(base: dict[str, Any], now: dict[str, Any], language: Language = "en") -> str:
    """How far each probability moved from one answer to another, in percentage points."""
    before, after = base["probabilities"], now["probabilities"]
    columns = "".join(f'<th scope="col">{say(language, key)}</th>' for key in ("before", "now", "change"))
    rows = "".join(
        f'<tr><th scope="row">{readable(label)}</th><td>{before[label]:.1%}</td><td>{p:.1%}</td>'
        f"<td>{say(language, 'points', points=f'{100 * (p - before[label]):+.1f}')}</td></tr>"
        for label, p in after.items()
    )
    inputs = say(language, "and").join(known(language, name, name) for name in now["modalities"])
    head = f'<thead><tr><th scope="col">{escape(say(language, "from", inputs=inputs))}</th>{columns}</tr></thead>'
    notes = warning_list([w for w in now["warnings"] if w not in base["warnings"]])
    table = f'<table class="mm-table">{head}<tbody>{rows}</tbody></table>'
    return f'<section class="mm-result" aria-live="polite">{table}{_members(now, language)}{notes}</section>'


def downloads(prediction: dict[str, Any], model: dict[str, Any], language: Language = "en") -> str:
    """Links that hold what they give: nothing is left on the server for somebody else to find."""
    document = json.dumps(prediction, indent=2, ensure_ascii=False)
    files = (
        ("download_json", "medmm-answer.json", "application/json", document),
        ("download_page", "medmm-answer.html", "text/html;charset=utf-8", one_page(prediction, model, language)),
    )
    links = "".join(
        f'<a class="mm-download" download="{name}" href="data:{kind};base64,{base64.b64encode(content.encode()).decode()}">'
        f"{say(language, key)}</a>"
        for key, name, kind, content in files
    )
    return f'<p class="mm-downloads">{links}</p>'


def one_page(prediction: dict[str, Any], model: dict[str, Any], language: Language = "en") -> str:
    """The answer as a page of its own, to keep or to print; it needs nothing else.

    Args:
        prediction: The document of `medmm predict --json`.
        model: The model's description.
        language: Of the page.
    """
    title = say(language, "answer_title")
    study = study_facts({**prediction["series"], "geometry": prediction["geometry"]}, [], language)
    style = _STYLE.read_text(encoding="utf-8") + _ON_PAPER
    return (
        f'<!doctype html><html lang="{TAGS[language]}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{style}</style></head>'
        f"<body><main><h1>{title}</h1>{study}{result(prediction, model, language)}</main></body></html>"
    )
