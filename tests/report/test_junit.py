"""JUnit: what a continuous integration reads back is what was meant."""

from __future__ import annotations

from xml.etree import ElementTree

from medmm.report.junit import Case, render_junit
from medmm.report.verdict import verdict, verdict_cases

CASES = (Case("a", "passed", "0.9"), Case("b <&> \x00\x1b", "failed", 'no "]]>" \ud800'), Case("c", "skipped", "unknown"))


def test_a_reader_finds_every_case_and_how_it_ended() -> None:
    root = ElementTree.fromstring(render_junit("gate <1>", CASES).encode())
    assert root.attrib == {"name": "gate <1>", "tests": "3", "failures": "1", "errors": "0", "skipped": "1"}
    a, b, c = root.findall("testcase")
    assert [e.get("classname") for e in (a, b, c)] == ["gate <1>"] * 3
    assert a.findtext("system-out") == "0.9"
    assert b.get("name") == "b <&> ??"
    assert b.find("failure").get("message") == 'no "]]>" ?'
    assert c.find("skipped").get("message") == "unknown"


def test_a_verdict_fails_where_it_says_no(rich_of) -> None:
    results = rich_of()
    outcomes = [case.outcome for case in verdict_cases(results)]
    tones = [s.tone for s in verdict(results) if s.tone != "beware"]
    assert outcomes == [{"good": "passed", "bad": "failed", "open": "skipped"}[tone] for tone in tones]
    assert {"passed", "failed", "skipped"} == set(outcomes)
