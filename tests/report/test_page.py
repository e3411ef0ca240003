"""The report: one file that shows what was measured, to everybody, and runs nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from medmm.report import render_report

LOADING = ("src", "href", "action", "data")


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


def test_hostile_words_stay_words(hostile) -> None:
    html = render_report(hostile)
    page = Page(html)
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


def test_the_same_results_give_the_same_bytes(shown) -> None:
    results, html = shown
    assert render_report(results) == html


def test_of_many_labels_the_page_draws_some_and_says_so(results_of) -> None:
    results = results_of("multilabel", 30)
    full = results.arms[0]
    many = {f"label {i}": full.calibration["a"] for i in range(9)}
    crowded = full.model_copy(update={"calibration": many, "curves": dict.fromkeys(many, full.curves["a"])})
    page = Page(render_report(results.model_copy(update={"arms": (crowded, *results.arms[1:])})))
    assert "3 further labels are in metrics.json" in page.text


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
def test_text_and_figures_can_be_told_from_the_background(results_of, scheme) -> None:
    root = re.findall(r":root \{(.*?)\}", render_report(results_of()), re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", root))
    for ground in ("bg", "panel"):
        for text in ("ink", "muted", "good", "bad", "open"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for drawn in (f"accent-{i}" for i in range(4)):
        assert contrast(colours[drawn], colours["bg"]) >= 3, drawn


@pytest.mark.browser
def test_a_browser_shows_it_quietly_and_without_sideways_scrolling(hostile, results_of, tmp_path, chromium) -> None:
    heard = []
    page = chromium.new_page()
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: (heard.append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: heard.append(request.url) if not request.url.startswith("file:") else None)
    for results in (hostile, results_of("multiclass")):
        (tmp_path / "report.html").write_text(render_report(results), encoding="utf-8")
        page.goto((tmp_path / "report.html").as_uri())
        for width in (390, 1200):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.get_by_text(results.disclaimer).is_visible()
        assert page.locator("svg[role=img]").count() == page.locator("svg").count() > 0
        page.locator("summary").first.click()
        assert page.locator("details").first.locator("table").is_visible()
    page.close()
    assert heard == []
