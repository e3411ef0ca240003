"""What identifiers look like in clinical text: one regular expression a habit of writing.

None of them takes more than a time proportional to the text: every repeated part is bounded, or
begins where nothing of its kind stands before it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_NAME_WORD = r"(?:[A-Z\u00c0-\u00de]['\u2019]?[A-Za-z\u00c0-\u00ff]{1,30}(?:-[A-Za-z\u00c0-\u00ff]{1,30}){0,2}|[A-Z](?:\.|\b))"
_PERSON = rf"{_NAME_WORD}(?:,?[ \t]+(?:(?:van|von|de|der|den|la|le|da|di|del|bin|al)[ \t]+)*{_NAME_WORD}){{0,3}}"
NOT_A_NAME = frozenset({
    "Abdomen", "Accession", "Address", "Age", "At", "Attending", "Axial", "Chest", "Comparison", "Contrast", "Ct", "Date",
    "Denies", "Dob", "Dr", "Ed", "Er", "Exam", "Fax", "Female", "Findings", "For", "Has", "Head", "Her", "His", "History",
    "Hospital", "Icu", "Id", "Image", "Impression", "In", "Indication", "Is", "Left", "Male", "Man", "Md", "Medical", "Mr",
    "Mri", "Mrn", "Name", "No", "Not", "Of", "On", "Pelvis", "Pet", "Phone", "Physician", "Portal", "Radiology", "Report",
    "Right", "Sex", "She", "Signed", "Spine", "Study", "Team", "Technique", "The", "Unknown", "Upper", "Was", "With", "Woman",
})  # fmt: skip
"""Words, in title case, that end a name though they begin with a capital."""

_MONTH_NAMES = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|"
    "Dec(?:ember)?|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
)
_MONTH = rf"(?:{_MONTH_NAMES})\b\.?"
_DAY = r"[0-3]?\d(?:st|nd|rd|th)?"
_YEAR = r"(?:19|20)\d{2}"
_STREET = "Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Boulevard|Blvd|Court|Way|Place|Square|Terrace|Close|Crescent"
_HOSPITAL = "Hospital|Clinic|Medical Cent(?:er|re)|Infirmary|Health System|Healthcare|Hospice|Nursing Home"
_TITLE = r"(?:(?:Dr|Drs|Mr|Mrs|Ms|Prof)\b\.?|(?:DR|MRS|PROF)\.|Miss|Professor|Doctor|[Nn]urse)"  # "MR" is a modality
_DEGREE = r"(?:MD|M\.D\.|DO|D\.O\.|PhD|RN|NP|PA-C|FRCR|FRCS|FACR|MBBS)(?![A-Za-z])"
_RELATIVE = "wife|husband|spouse|partner|son|daughter|mother|father|brother|sister"
_PHYSICIAN = (
    "(?:(?:referring|requesting|ordering|attending|reporting|consulting) )?"
    "(?:physician|clinician|doctor|provider|radiologist|consultant)"
)
_ACT = "(?:dictated|transcribed|interpreted|reported|verified|approved|authenticated) by|(?:electronically )?signed(?: by)?"
_PEOPLE_LABEL = (
    rf"(?i:\b(?:patient(?:'s)?(?: name)?|pt|(?:full |last |first )?name|{_PHYSICIAN}|{_ACT}|attending|technologist|operator|"
    r"next of kin|cc)[ \t]*[:=])"
)
_THING = (
    "accession|account|case|chart|encounter|episode|exam|health card|hospital|insurance|job|licen[cs]e|medical record|member|order|"
    "passport|patient|policy|record|serial|specimen|study|visit"
)
_NUMBERED = rf"(?i:\b(?:MRN|NHS|(?:{_THING})[ \t]+(?:no|num|number|id|#)))"
_LABELLED = (
    r"(?i:\b(?:acc|accession|account|case|chart|encounter|episode|ID|job|member|order|passport|policy|specimen|visit)"
    r"[ \t]*(?:#|[:=]))"
)
_ID = r"(?=[A-Za-z0-9./-]*\d)[A-Za-z0-9](?:[A-Za-z0-9./-]*[A-Za-z0-9])?(?: \d{3,4}){0,2}"
_PHONE_LABEL = r"(?i:\b(?:tel(?:ephone)?|phone|fax|pager|mobile|cell|ext|extension|bleep)\b)"
_YEARS_OLD = r"(?=[ -]?(?:years?\b|yrs?\b|y/?o\b|y\.o\.))(?![ -]years? (?:of|history))"
_OVER_90 = r"9[1-9]|1[01]\d|12[0-5]"


class Rule(NamedTuple):
    """One habit of writing.

    Attributes:
        kind: What is written so.
        pattern: Its group x, or all of it, identifies.
        words: For people: words that must be left once what is no name is cut off; else 0.
    """

    kind: str
    pattern: re.Pattern[str]
    words: int = 0


def _rule(kind: str, pattern: str, words: int = 0) -> Rule:
    return Rule(kind, re.compile(pattern), words)


RULES = (
    _rule("email", r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    _rule("url", r"(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:)]"),
    _rule("ssn", r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"),
    _rule("id", rf"(?:{_NUMBERED}|\bMRN)[ \t.:#=]*(?P<x>{_ID})"),
    _rule("id", rf"{_LABELLED}[ \t#:]*(?P<x>{_ID})"),
    _rule("id", r"(?<![\d.])[012](?:\.\d+){5,}"),
    _rule("date", rf"(?<![\d.-]){_YEAR}[-/.](?:0?[1-9]|1[0-2])[-/.](?:0?[1-9]|[12]\d|3[01])(?!\d)"),
    _rule("date", rf"(?<![\d./-])[0-3]?\d[-/.][0-3]?\d[-/.]{_YEAR}(?!\d)"),
    _rule("date", r"(?<![\d./-])[0-3]?\d/[0-3]?\d/\d{2}(?![\d/])"),
    _rule("date", rf"(?<![\d./-])(?:0?[1-9]|1[0-2])/{_YEAR}(?!\d)"),
    _rule("date", rf"(?<!\d){_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)"),
    _rule("date", rf"\b{_MONTH}[ \t]+{_DAY}(?:,?[ \t]+{_YEAR})?\b(?![./]\d)"),
    _rule("date", rf"(?<![\d./]){_DAY}(?: of)?[ -]{_MONTH}(?:[ ,-]*(?:{_YEAR}|(?<=-)\d{{2}}))?"),
    _rule("date", rf"\b{_MONTH},?[ \t]+{_YEAR}\b"),
    _rule("phone", r"(?<![\d.+])(?:\+?1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?!\d)"),
    _rule("phone", r"\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}"),
    _rule("phone", r"(?<!\d)0\d{2,4} \d{3,4} \d{3,4}(?!\d)"),
    _rule("phone", rf"{_PHONE_LABEL}[ \t.:#]*(?P<x>\+?\d[\d ()./-]{{2,}}\d)"),
    _rule("address", rf"\b\d{{1,5}}[A-Z]? (?:[A-Z][\w'.-]* ){{1,3}}(?:{_STREET})\b\.?"),
    _rule("address", r"\b[A-Z][a-z]{1,20}(?: [A-Z][a-z]{1,20}){0,3}, [A-Z]{2} \d{5}(?:-\d{4})?\b"),
    _rule("age", rf"(?<![\d.])(?P<x>{_OVER_90}){_YEARS_OLD}"),
    _rule("age", rf"(?i:\bage[d:]?[ \t]+)(?P<x>{_OVER_90})(?!\d)"),
    _rule("institution", rf"(?<![\w-])(?:[A-Z][\w'\u2019&-]{{0,30}}\.? ){{1,4}}(?:{_HOSPITAL})\b(?: of [A-Z]\w+| [A-Z][a-z]+)?"),
    _rule("institution", r"\bUniversity of [A-Z]\w+(?: [A-Z]\w+){0,3}"),
    _rule("name", rf"\b{_TITLE}[ \t]+(?P<x>{_PERSON})", 1),
    _rule("name", rf"{_PEOPLE_LABEL}[ \t]*(?:(?i:Dr|Prof)\.?[ \t]+)?(?P<x>{_PERSON})", 1),
    _rule("name", r"\b(?P<x>[A-Z][A-Za-z'-]+\^[A-Za-z'^-]+)", 1),
    _rule("name", rf"(?<![\w-])(?P<x>{_PERSON}),?[ \t]+{_DEGREE}", 2),
    _rule("name", rf"(?<![\w-])(?P<x>{_PERSON})(?:,| is| was)[ \t]+an?[ \t]+\d{{1,3}}[- ]?(?:year|yr|y/?o|y\.o)", 2),
    _rule("name", rf"\b(?:[Pp]atient|by|with|to|and)[ \t]+(?P<x>{_PERSON})", 2),
    _rule("name", rf"(?i:\b(?:{_RELATIVE})),?[ \t]+(?P<x>{_PERSON})", 1),
)  # fmt: skip
