"""Markdown: renders to the tables it means, and nothing else."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from medmm.report.markdown import escape, render_comparison_markdown, render_markdown, table


def html(markdown: str) -> str:
    return MarkdownIt("gfm-like", {"linkify": False}).render(markdown)


def test_a_report_has_its_verdict_tables_and_checklist(rich_of) -> None:
    results = rich_of()
    text = render_markdown(results)
    for said in (
        "Using everything is better than image alone",
        "0.710 [0.660, 0.760]",
        "not shown: fewer than 50 samples",
        "NOT STATED",
        "What else it answers",
    ):
        assert said in text
    assert html(text).count("<table>") == 6
    assert results.disclaimer in text
    assert results.task_sha256 in text


def test_hostile_words_stay_words(hostile) -> None:
    rendered = html(render_markdown(hostile))
    assert "<script" not in rendered
    assert "<img" not in rendered
    for label in hostile.labels:
        shown = label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
        assert shown in rendered


@pytest.mark.parametrize(
    "text", ["[a](javascript:x)", "![a](b)", "*a* _b_ `c`", "<b>", "a|b", "f1_macro", "0.5 [0.1, 0.9]", "~~x~~", "a & b", "&lt;"]
)
def test_text_stays_text(text) -> None:
    shown = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert html(escape(text)).strip() == f"<p>{shown}</p>"
    assert f"<td>{shown}</td>" in html(table(["head"], [[text]]))


def test_lines_are_joined() -> None:
    assert escape("a\n\n# b\n| c |") == r"a # b \| c \|"


def test_two_runs_have_their_page_too(runs_compared) -> None:
    text = render_comparison_markdown(runs_compared)
    assert "| ours | theirs | auroc | 149 | +0.1000 [+0.0200, +0.2000] | 0.01 | 0.02 | better |" in text
    assert html(text).count("<table>") == 2
