"""The report: one file that shows what was measured, to everybody, and runs nothing."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest

from medmm.report import render_comparison, render_report
from medmm.report.sections import SECTIONS
from medmm.results import WorstCase

LOADING = ("src", "href", "action", "data")


@pytest.fixture(scope="module")
def rich_html(rich_of) -> str:
    return render_report(rich_of())


@pytest.fixture(scope="module")
def eighteen_html(eighteen) -> str:
    return render_report(eighteen)


@pytest.fixture(scope="module")
def hostile_html(hostile) -> str:
    return render_report(hostile)


@pytest.fixture(scope="module", params=["binary", "multiclass", "multilabel"])
def shown(request, results_of):
    """Results of each kind of task and their page."""
    results = results_of(request.param)
    return results, render_report(results)


class Page(HTMLParser):
    """Elements with their attributes, and the text a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.text += data


def loads(page: Page) -> list[str]:
    """Everything the page refers to outside itself, or would run."""
    names = {name for name, _ in page.elements} & {"script", "link", "iframe", "img", "object", "embed", "base", "form"}
    for _, attributes in page.elements:
        names |= {k for k in attributes if k.startswith("on")}
        names |= {v for k, v in attributes.items() if k.split(":")[-1] in LOADING and not v.startswith("#")}
    return sorted(names)


def test_nothing_is_loaded_from_anywhere(shown) -> None:
    _, html = shown
    assert loads(Page(html)) == []
    assert set(re.findall(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", html)) == set()
    assert len(html) < 3_000_000


def test_every_arm_stands_there_with_its_intervals(shown) -> None:
    results, html = shown
    text = Page(html).text
    for arm in results.arms:
        assert arm.what in text
        for name, found in arm.metrics.items():
            assert name in text
            if found.low is not None:
                assert f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]" in text
    for said in (results.disclaimer, "95 % intervals", "E_MISSING_SLICES", results.task_sha256, *results.notes):
        assert said in text


def test_decisions_name_their_threshold_policy_and_split(results_of) -> None:
    text = Page(render_report(results_of(thresholds={"policy": "fixed", "value": 0.25}))).text
    assert "decisions by policy fixed, chosen on split none: not fitted to data, at 0.25." in text


def test_hostile_words_stay_words(hostile, hostile_html) -> None:
    page = Page(hostile_html)
    assert loads(page) == []
    for label in hostile.labels:
        assert label in page.text
    assert hostile.question in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "#010101" in page.text


def test_an_unstated_use_is_said_to_be_unstated(results_of) -> None:
    assert "Intended use: NOT STATED" in Page(render_report(results_of())).text
    assert "Intended use: a toy" in Page(render_report(results_of(intended_use="a toy"))).text


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_what_is_undefined_says_so_and_why(results_of, kind) -> None:
    results = results_of(kind, 12, one_class=kind != "multilabel")
    page = Page(render_report(results))
    assert "undefined" in page.text
    assert any(v.reason in page.text for a in results.arms for v in a.metrics.values() if v.reason)
    assert "nan" not in page.text.lower().replace("nance", "")


def test_the_same_results_give_the_same_bytes(rich_of, rich_html) -> None:
    assert render_report(rich_of()) == rich_html


def test_every_section_with_something_to_say_is_there_and_reachable(rich_html) -> None:
    page = Page(rich_html)
    anchors = {attributes["id"] for _, attributes in page.elements if attributes.get("id")}
    assert {s.key for s in SECTIONS} <= anchors
    linked = {v.removeprefix("#") for _, attributes in page.elements if (v := attributes.get("href"))}
    assert linked <= anchors


def test_what_was_not_measured_is_named(results_of) -> None:
    text = Page(render_report(results_of())).text
    for title in (s.title for s in SECTIONS if s.key in ("sites", "robustness", "characteristics", "recalibration")):
        assert title in text.split("Not measured, hence not in this report")[1]


def test_every_field_of_the_results_is_on_the_page(rich_html) -> None:
    text = " ".join(Page(rich_html).text.split())
    said = [
        "Compared by patient and image", "By reference standard", "fewer than 50 samples", "hospital 1", "needs both classes",
        "0.710 [0.660, 0.760]", "0.130 [0.080, 0.180]", "0.300 on the logit scale", "[0.550, 0.930]", "-0.100 [-0.200, -0.020]",
        "noise (HU)", "20: 0.750 [0.700, 0.800]", "Two radiologists read every scan.", "numpy 2.4", "where sex=F", "s5",
        "by chance [0.010, 0.060]", "With every failed sample counted as a wrong answer", "median", "61",
    ]  # fmt: skip
    assert [words for words in said if words not in text] == []


def test_thumbnails_are_embedded_for_the_worst_cases_alone_and_stay_small(results_of) -> None:
    case = WorstCase(sample_id="", truth="a", called="b", probability=0.9, pattern="")
    worst = tuple(case.model_copy(update={"sample_id": f"s{i}"}) for i in range(4))
    results = results_of(n=30).model_copy(update={"worst": worst})
    png = b"\x89PNG" + bytes(100)
    html = render_report(results, {"s1": png, "s2": png, "not among them": png})
    found = [attributes["src"] for name, attributes in Page(html).elements if name == "img"]
    assert [base64.b64decode(src.removeprefix("data:image/png;base64,")) for src in found] == [png, png]
    assert render_report(results, {f"s{i}": bytes(700_000) for i in range(4)}).count("<img") == 1


def test_eighteen_labels_are_all_there_and_small_enough_to_mail(eighteen, eighteen_html) -> None:
    assert len(eighteen_html.encode()) < 3_000_000
    page = Page(eighteen_html)
    for label in eighteen.arms[0].curves:
        assert f"Decision curve of {label}" in eighteen_html
        assert label in page.text
    folded = re.findall(r"<summary>Curves: all (\d+)</summary>", eighteen_html)
    assert int(folded[0]) > 15


def test_two_runs_are_shown_side_by_side(runs_compared) -> None:
    html = render_comparison(runs_compared)
    page = Page(html)
    assert loads(page) == []
    for words in ("ours against theirs", "3 answered by one side only", "holm", "0.02", "not inferior", "A note.", "delong"):
        assert words in page.text
    for figure in ("ROC curves of b", "ours minus theirs of every row with its interval", "Reliability diagram of b"):
        assert figure in html
    assert runs_compared.disclaimer in page.text


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        digits = colour.lstrip("#")
        digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_figures_can_be_told_from_the_background(rich_html, scheme) -> None:
    root = re.findall(r":root \{(.*?)\}", rich_html, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", root))
    for ground in ("bg", "panel"):
        for text in ("ink", "muted", "good", "bad", "open", "beware", "accent-0"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for drawn in (f"accent-{i}" for i in range(4)):
        assert contrast(colours[drawn], colours["bg"]) >= 3, drawn


@pytest.mark.browser
def test_a_browser_shows_it_quietly_and_without_sideways_scrolling(
    hostile_html, eighteen_html, rich_html, tmp_path, chromium
) -> None:
    heard = []
    page = chromium.new_page()
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: (heard.append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: heard.append(request.url) if not request.url.startswith("file:") else None)
    for html in (hostile_html, eighteen_html, rich_html):
        (tmp_path / "report.html").write_text(html, encoding="utf-8")
        page.goto((tmp_path / "report.html").as_uri())
        for width in (360, 768, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.get_by_role("note").is_visible()
        assert page.locator("svg[role=img]").count() == page.locator("svg").count() > 0
        last = page.locator("#checklist details")
        assert not last.locator("table").is_visible()
        last.locator("summary").click()
        assert last.locator("table").is_visible()
    page.close()
    assert heard == []
