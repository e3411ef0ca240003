"""What was uploaded, read and written, as HTML text; every value that came from outside is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from medmm.sections import split_sections
from medmm.settings import LIMITS
from medmm.ui.views import warning_list
from medmm.ui.words import Language, known, say


def study_facts(study: dict[str, Any], warnings: list[dict[str, str]], language: Language = "en") -> str:
    """What was read, and what to know of it; a choice among several series is one of the warnings."""
    geometry = study["geometry"]
    if geometry is None:
        return ""
    shape = " x ".join(str(n) for n in geometry["shape"])
    spacing = " x ".join(f"{s:g}" for s in geometry["spacing_mm"])
    size = say(language, "pixels" if study["source"] == "picture" else "voxels", shape=shape, spacing=spacing)
    plane = known(language, geometry["plane"], geometry["plane"])
    facts = [study["series"], size, say(language, "measured_in", **geometry | {"plane": plane})]
    if study["repairs"]:
        facts.append(say(language, "repaired", repairs="; ".join(study["repairs"])))
    return f'<p class="mm-facts">{escape(" · ".join(facts))}</p>{warning_list(warnings)}'


def verdict(inspection: dict[str, Any], language: Language = "en") -> str:
    """What lies in an upload: every series and whether it can be read, what is left out, what names the patient."""
    columns = "".join(f'<th scope="col">{say(language, f"column_{c}")}</th>' for c in ("series", "files", "geometry", "verdict"))
    rows = "".join(_found(found, language) for found in inspection["found"])
    table = f"<thead><tr>{columns}</tr></thead><tbody>{rows}</tbody>"
    caption = f"<caption>{say(language, 'found_title')}</caption>"
    apart = [(other["kind"], other["files"]) for other in inspection["others"]] + inspection["left_out"]
    left_out = "".join(f"<li>{escape(say(language, 'left_out', files=files, reason=reason))}</li>" for reason, files in apart)
    kinds = ", ".join(inspection["identifiers"])
    named = escape(say(language, "identifiers", kinds=kinds)) if kinds else say(language, "no_names")
    return (
        f'<div class="mm-scroll"><table class="mm-table mm-found">{caption}{table}</table></div>'
        f'<ul class="mm-warnings">{left_out}</ul><p class="mm-muted">{named}</p>'
    )


def _found(found: dict[str, Any], language: Language) -> str:
    if found["code"]:
        told = f"<b>{escape(found['code'])}</b> {known(language, found['code']) or escape(found['message'])}"
    else:
        told = say(language, "will_be_read" if found["chosen"] else "readable")
    description = ", ".join(word for word in (found["description"], found["kind"], found["values"]) if word)
    cells = (str(found["files"]), escape(_size(found["geometry"], language)), told)
    mark = ' class="mm-chosen"' if found["chosen"] else ""
    return f'<tr{mark}><th scope="row">{escape(description)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _size(geometry: dict[str, Any] | None, language: Language) -> str:
    if geometry is None:
        return "-"
    shape, spacing = (" x ".join(f"{n:g}" for n in geometry[key]) for key in ("shape", "spacing_mm"))
    return say(language, "voxels", shape=shape, spacing=spacing)


def note_facts(note: str, used: dict[str, Any] | None, language: Language = "en") -> str:
    """How a note is understood: its length, its sections, and the part a model reads once that is known.

    Args:
        note: As typed.
        used: `text_used` and `warnings` from the model's process; None while that is not known.
        language: Of the page.
    """
    text = note.strip()
    if not text:
        return f'<p class="mm-muted">{say(language, "note_nothing")}</p>'
    names = [say(language, s.name or "before_heading") for s in split_sections(text)]
    headed = any(s.name for s in split_sections(text))
    parts = [
        say(language, "note_length", characters=f"{len(text):,}", most=f"{LIMITS.note_chars:,}"),
        say(language, "note_sections", sections=", ".join(names)) if headed else say(language, "note_no_sections"),
    ]
    return f'<p class="mm-muted">{" ".join(parts)} {_reading(used, language)}</p>{_cut(used, language)}'


def _reading(used: dict[str, Any] | None, language: Language) -> str:
    return say(language, "note_all_used") if used and used["text_used"] and not used["warnings"] else ""


def _cut(used: dict[str, Any] | None, language: Language) -> str:
    if not used or not used["warnings"]:
        return ""
    shown = f'<p class="mm-muted">{say(language, "note_cut")}</p><div class="mm-used">{escape(used["text_used"] or "")}</div>'
    return warning_list(used["warnings"]) + shown
