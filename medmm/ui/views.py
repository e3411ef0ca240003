"""Pieces of the page as HTML text; every value that came from outside is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from medmm.ui.words import Language, known, say


def banner(sentence: str) -> str:
    """The line that is always there."""
    return f'<p class="mm-banner" role="note">{sentence}</p>'


def study_facts(study: dict[str, Any], warnings: list[dict[str, str]], language: Language = "en") -> str:
    """What was read, and what to know of it; a choice among several series is one of the warnings."""
    geometry = study["geometry"]
    shape = " x ".join(str(n) for n in geometry["shape"])
    spacing = " x ".join(f"{s:g}" for s in geometry["spacing_mm"])
    size = say(language, "pixels" if study["source"] == "picture" else "voxels", shape=shape, spacing=spacing)
    plane = known(language, geometry["plane"], geometry["plane"])
    facts = [study["series"], size, say(language, "measured_in", **geometry | {"plane": plane})]
    return f'<p class="mm-facts">{escape(" · ".join(facts))}</p>{_warnings(warnings)}'


def failure(code: str, message: str) -> str:
    """An error: its code for machines, its sentence for people."""
    return f'<div class="mm-error" role="alert"><b>{escape(code)}</b> {escape(message)}</div>'


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
        _track_record(prediction, model, language),
        _by_modality(prediction, language),
        _warnings(prediction["warnings"]),
        _text_used(prediction, language),
        f'<p class="mm-muted">{escape(_made_by(prediction, language))}</p>',
        f'<p class="mm-banner">{say(language, "research_only")}</p>',
    ]
    return f'<section class="mm-result" aria-live="polite">{"".join(parts)}</section>'


def model_facts(model: dict[str, Any], language: Language = "en") -> str:
    """What the model is and how good it was measured to be, in one paragraph."""
    name = f"{say(language, 'model')} <b>{escape(model['name'])}</b>"
    results = model["results"]
    if results is None:
        return f'<p class="mm-about">{name}: {say(language, "model_unmeasured")}</p>'
    full = results["arms"][0]
    ranking = full["metrics"].get("auroc") or full["metrics"].get("auroc_macro")
    measured = say(
        language, "model_measured", n=full["n"], patients=full["patients"], auroc=_interval(ranking, language),
        f1=_interval(full["metrics"]["f1_macro"], language),
    )  # fmt: skip
    question = escape(results["question"] or results["task"])
    return f'<p class="mm-about">{name}: {question} {measured}{_modesty(ranking, language)}</p>'


def _modesty(ranking: dict[str, Any], language: Language) -> str:
    if ranking["low"] is None or ranking["low"] <= 0.5:
        return f" <b>{say(language, 'not_better')}</b>"
    return ""


def _bar(label: str, p: float, called: str) -> str:
    mark = f' <span class="mm-called">{called}</span>' if called else ""
    return (
        f'<div class="mm-bar"><span class="mm-label">{_readable(label)}{mark}</span>'
        f'<span class="mm-track"><span class="mm-fill" style="width:{p:.1%}"></span></span>'
        f'<span class="mm-number">{p:.1%}</span></div>'
    )


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
    return say(language, "record", count=nearest["count"], label=_readable(label), hits=hits, **shares)


def _by_modality(prediction: dict[str, Any], language: Language) -> str:
    single = prediction["by_modality"]
    if len(single) < 2:
        return ""
    labels = list(prediction["probabilities"])
    shown = labels[1:] if len(labels) == 2 else labels
    head = "".join(f'<th scope="col">{_readable(label)}</th>' for label in shown)
    rows = [(known(language, f"{name}_alone", name), p) for name, p in single.items()]
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{p[label]:.1%}</td>" for label in shown)}</tr>'
        for name, p in [*rows, (say(language, "together"), prediction["probabilities"])]
    )
    caption = f'<th scope="col">{say(language, "who_says")}</th>'
    return f'<table class="mm-table"><thead><tr>{caption}{head}</tr></thead><tbody>{body}</tbody></table>'


def _warnings(warnings: list[dict[str, str]]) -> str:
    items = "".join(f"<li><b>{escape(w['code'])}</b> {escape(w['message'])}</li>" for w in warnings)
    return f'<ul class="mm-warnings">{items}</ul>' if items else ""


def _text_used(prediction: dict[str, Any], language: Language) -> str:
    """The part of the note that was read, when it was cut."""
    if not any(w["code"] == "W_NOTE_CUT" for w in prediction["warnings"]):
        return ""
    used = f'<div class="mm-used">{escape(prediction["text_used"])}</div>'
    return f"<details><summary>{say(language, 'text_read')}</summary>{used}</details>"


def _made_by(prediction: dict[str, Any], language: Language) -> str:
    model = prediction["model"]
    seconds = f"{sum(prediction['seconds'].values()):.2f}"
    return say(language, "made_by", seconds=seconds, model=model["name"], digest=model["sha256"][:12])


def _readable(label: str) -> str:
    return escape(label.replace("_", " "))


def _interval(value: dict[str, Any] | None, language: Language) -> str:
    if value is None or value["value"] is None:
        return say(language, "undefined")
    if value["low"] is None:
        return f"{value['value']:.2f}"
    return f"{value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"
