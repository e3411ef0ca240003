"""Pieces of the page as HTML text; every value that came from outside is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from medmm.prediction import DISCLAIMER

_NAMES = {"image": "scan alone", "text": "note alone"}


def banner() -> str:
    """The line that is always there."""
    return f'<p class="mm-banner" role="note">{escape(DISCLAIMER)} Do not upload data that identifies a person.</p>'


def study_facts(study: dict[str, Any], warnings: list[dict[str, str]]) -> str:
    """What was read, and what to know of it; a choice among several series is one of the warnings."""
    geometry = study["geometry"]
    shape = " x ".join(str(n) for n in geometry["shape"])
    spacing = " x ".join(f"{s:g}" for s in geometry["spacing_mm"])
    size = f"{shape} pixels" if study["source"] == "picture" else f"{shape} voxels of {spacing} mm"
    plane = "oblique, shown along the nearest axes" if geometry["plane"] == "oblique" else geometry["plane"]
    facts = [study["series"], size, f"{plane}, {geometry['modality']} in {geometry['unit']}"]
    return f'<p class="mm-facts">{escape(" · ".join(facts))}</p>{_warnings(warnings)}'


def failure(code: str, message: str) -> str:
    """An error: its code for machines, its sentence for people."""
    return f'<div class="mm-error" role="alert"><b>{escape(code)}</b> {escape(message)}</div>'


def result(prediction: dict[str, Any], model: dict[str, Any]) -> str:
    """The answer: probabilities, how far they were right before, what each input said, warnings, timing."""
    bars = "".join(_bar(label, p, called=label in prediction["called"]) for label, p in prediction["probabilities"].items())
    kind = "Calibrated probability" if prediction["calibrated"] else "Uncalibrated score, not a probability"
    parts = [
        f'<h3>{kind} <span class="mm-muted">from {escape(" and ".join(prediction["modalities"]))}</span></h3>',
        f'<div class="mm-bars">{bars}</div>',
        _track_record(prediction, model),
        _by_modality(prediction),
        _warnings(prediction["warnings"]),
        _text_used(prediction),
        f'<p class="mm-muted">{escape(_timing(prediction))} Model {escape(prediction["model"]["name"])}, '
        f"{escape(prediction['model']['sha256'][:12])}.</p>",
        f'<p class="mm-banner">{escape(DISCLAIMER)}</p>',
    ]
    return f'<section class="mm-result" aria-live="polite">{"".join(parts)}</section>'


def model_facts(model: dict[str, Any]) -> str:
    """What the model is and how good it was measured to be, in one paragraph."""
    results = model["results"]
    if results is None:
        return f'<p class="mm-about">Model <b>{escape(model["name"])}</b>: not measured on unseen patients.</p>'
    full = results["arms"][0]
    ranking = full["metrics"].get("auroc") or full["metrics"].get("auroc_macro")
    auroc = _interval(ranking)
    return (
        f'<p class="mm-about">Model <b>{escape(model["name"])}</b>: {escape(results["question"] or results["task"])} '
        f"On {full['n']} studies of {full['patients']} patients it had not seen: AUROC {auroc}, "
        f"macro-F1 {_interval(full['metrics']['f1_macro'])}.{_modesty(ranking)}</p>"
    )


def _modesty(ranking: dict[str, Any]) -> str:
    if ranking["low"] is None or ranking["low"] <= 0.5:
        return " <b>That is not proven better than chance: treat every answer as a demonstration.</b>"
    return ""


def _bar(label: str, p: float, *, called: bool) -> str:
    mark = ' <span class="mm-called">called</span>' if called else ""
    return (
        f'<div class="mm-bar"><span class="mm-label">{_readable(label)}{mark}</span>'
        f'<span class="mm-track"><span class="mm-fill" style="width:{p:.1%}"></span></span>'
        f'<span class="mm-number">{p:.1%}</span></div>'
    )


def _track_record(prediction: dict[str, Any], model: dict[str, Any]) -> str:
    """How often patients with such a probability turned out to have the label."""
    results = model["results"]
    if results is None or not prediction["calibrated"]:
        return ""
    full_pattern = sorted(prediction["modalities"]) == sorted(model["modalities"])
    name = "full" if full_pattern else "+".join(prediction["modalities"])
    arm = next((a for a in results["arms"] if a["name"] == name), None)
    if arm is None:
        return ""
    sentences = [_sentence(label, prediction["probabilities"][label], found) for label, found in arm["calibration"].items()]
    return f'<p class="mm-record">{" ".join(s for s in sentences if s)}</p>'


def _sentence(label: str, p: float, calibration: dict[str, Any]) -> str:
    if not calibration["bins"]:
        return ""
    nearest = min(calibration["bins"], key=lambda b: abs(b["predicted"] - p))
    hits = round(nearest["observed"] * nearest["count"])
    return (
        f"Of {nearest['count']} unseen patients given about {nearest['predicted']:.0%} for {_readable(label)}, "
        f"{hits} ({nearest['observed']:.0%}, 95 % interval {nearest['low']:.0%} to {nearest['high']:.0%}) had it."
    )


def _by_modality(prediction: dict[str, Any]) -> str:
    single = prediction["by_modality"]
    if len(single) < 2:
        return ""
    labels = list(prediction["probabilities"])
    shown = labels[1:] if len(labels) == 2 else labels
    head = "".join(f"<th>{_readable(label)}</th>" for label in shown)
    rows = [(_NAMES.get(name, name), p) for name, p in single.items()] + [("together", prediction["probabilities"])]
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{p[label]:.1%}</td>" for label in shown)}</tr>' for name, p in rows
    )
    return f'<table class="mm-table"><thead><tr><th>what says what</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _warnings(warnings: list[dict[str, str]]) -> str:
    items = "".join(f"<li><b>{escape(w['code'])}</b> {escape(w['message'])}</li>" for w in warnings)
    return f'<ul class="mm-warnings">{items}</ul>' if items else ""


def _text_used(prediction: dict[str, Any]) -> str:
    """The part of the note that was read, when it was cut."""
    if not any(w["code"] == "W_NOTE_CUT" for w in prediction["warnings"]):
        return ""
    return (
        f'<details><summary>The text that was read</summary><div class="mm-used">{escape(prediction["text_used"])}</div></details>'
    )


def _timing(prediction: dict[str, Any]) -> str:
    return f"{sum(prediction['seconds'].values()):.2f} s."


def _readable(label: str) -> str:
    return escape(label.replace("_", " "))


def _interval(value: dict[str, Any] | None) -> str:
    if value is None or value["value"] is None:
        return "undefined"
    if value["low"] is None:
        return f"{value['value']:.2f}"
    return f"{value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"
