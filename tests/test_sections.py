from __future__ import annotations

import pytest

from medmm.sections import Section, keep_sections, split_sections

REPORT = """EXAM: CT chest with contrast
CLINICAL HISTORY: 61-year-old smoker, cough.
TECHNIQUE: 1.25 mm slices.
COMPARISON: None.
FINDINGS:
A nodule of 2.4 cm in the left lower lobe. The heart is normal: no effusion.

No lymph nodes.
IMPRESSION:
1. Nodule.
2. No metastases."""


def test_a_report_is_divided_at_its_headings() -> None:
    assert [(s.name, s.text) for s in split_sections(REPORT)] == [
        ("technique", "CT chest with contrast"),
        ("indication", "61-year-old smoker, cough."),
        ("technique", "1.25 mm slices."),
        ("comparison", "None."),
        ("findings", "A nodule of 2.4 cm in the left lower lobe. The heart is normal: no effusion.\n\nNo lymph nodes."),
        ("impression", "1. Nodule.\n2. No metastases."),
    ]


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("INDICATION", "indication"), ("Indications", "indication"), ("Clinical History", "indication"), ("HISTORY", "indication"),
        ("Clinical information", "indication"), ("REASON FOR EXAM", "indication"), ("Reason for this examination", "indication"),
        ("History of present illness", "indication"), ("Technique", "technique"), ("PROTOCOL", "technique"),
        ("Procedure", "technique"), ("EXAMINATION", "technique"), ("Findings", "findings"), ("CT FINDINGS", "findings"),
        ("REPORT", "findings"), ("FINDINGS AND IMPRESSION", "findings"), ("FINDINGS/IMPRESSION", "findings"),
        ("Impression", "impression"), ("CONCLUSION", "impression"), ("Conclusions", "impression"), ("Summary", "impression"),
        ("OPINION", "impression"), ("Final diagnosis", "impression"), ("COMPARISON", "comparison"),
        ("Previous imaging", "comparison"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "form", ["{}: text", "{}:\ntext", "{}\ntext", "  {} - text", "**{}:** text", "## {}\ntext", "Before. \n{}: text"]
)
def test_common_headings_in_common_forms_are_known(heading: str, name: str, form: str) -> None:
    assert Section(name, "text") in split_sections(form.format(heading))


def test_a_report_on_one_line_is_divided_at_capitals() -> None:
    found = split_sections("INDICATION: cough. FINDINGS: a nodule; heart normal. IMPRESSION: nodule.")
    assert [(s.name, s.text) for s in found] == [
        ("indication", "cough."), ("findings", "a nodule; heart normal."), ("impression", "nodule."),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "61-year-old, cough for 3 weeks.",
        "The findings: nothing. His history of smoking is long.",
        "Results were normal\nHistory shows nothing",
        "Note: see the summary below.",
        "LEFT LUNG: clear. RIGHT LUNG: clear.",
    ],
)
def test_words_that_are_no_headings_divide_nothing(text: str) -> None:
    assert split_sections(text) == (Section("", text),)


def test_what_stands_before_the_first_heading_is_kept_and_empty_sections_are_not() -> None:
    assert split_sections("Dear colleague,\nFINDINGS:\nIMPRESSION: fine.") == (
        Section("", "Dear colleague,"),
        Section("impression", "fine."),
    )
    assert split_sections("") == ()


@pytest.mark.timeout(60)  # a pattern that backtracks takes hours
@pytest.mark.parametrize(
    "text", ["A " * 16_000, "FINDINGS" * 4_000, " \t" * 16_000, "*" * 32_000, "a:\n" * 10_000, "FINDINGS: " * 3_000]
)
def test_no_text_takes_long(text: str) -> None:
    kept = "".join(section.text for section in split_sections(text))
    assert len(kept) <= len(text)


def test_sections_that_are_kept_are_found_again_and_nothing_else() -> None:
    text = "For the tumour board.\nINDICATION: Pain.\nFINDINGS: A mass.\nImpression - Cancer."
    kept = keep_sections(text, ("indication", ""))
    assert [(s.name, s.text) for s in split_sections(kept)] == [("", "For the tumour board."), ("indication", "Pain.")]
    assert keep_sections(kept, ("indication", "")) == kept
    assert keep_sections(text, None) == text
    assert keep_sections("A mass under no heading.", ("indication",)) == ""
