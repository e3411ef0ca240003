"""Layout and events of the page of measured runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from medmm.errors import MedmmError
from medmm.ui import run_views, views
from medmm.ui.blocks import HIDDEN, GuardedBlocks
from medmm.ui.runs import Runs

_EVENT: dict[str, Any] = {
    "concurrency_limit": 1,
    "concurrency_id": "runs",
    "show_progress": "minimal",
    **HIDDEN,
}  # one figure at a time
_ALL = "all tasks"


def layout(runs: Runs, close: Callable[[], None]) -> GuardedBlocks:
    """The page as Blocks.

    Args:
        runs: What it shows.
        close: Called when serving ends.
    """
    blocks = GuardedBlocks("medmm: measured runs", close, ["page.css", "runs.css"])
    with blocks:
        gr.Markdown("# Measured runs")
        gr.HTML(run_views.banner())
        with gr.Tab("All runs", elem_id="tab-all"):
            _all_runs(runs)
        with gr.Tab("One run", elem_id="tab-one"):
            _one_run(runs, blocks)
        with gr.Tab("Two runs", elem_id="tab-two"):
            _two_runs(runs)
    blocks.queue(max_size=32, default_concurrency_limit=2, api_open=False)
    return blocks


def _all_runs(runs: Runs) -> None:
    def show(found: str | None, chosen: str | None) -> str:
        return run_views.runs_table(runs.matching(found or "", "" if chosen in (None, _ALL) else str(chosen)))

    with gr.Row():
        words = gr.Textbox(label="Find", placeholder="words in run, model, task or split", elem_id="find-run")
        task = gr.Dropdown([_ALL, *runs.tasks()], value=_ALL, label="Task", elem_id="task")
    table = gr.HTML(show("", _ALL), elem_id="runs")
    gr.on([words.change, task.change], show, [words, task], table, api_name="runs", **_EVENT)


def _one_run(runs: Runs, blocks: gr.Blocks) -> None:
    names = runs.names()
    run = gr.Dropdown(names, value=names[0], label="Run", elem_id="run-name")
    details = gr.HTML(elem_id="details")
    gr.Markdown("### Its samples")
    with gr.Row():
        words = gr.Textbox(
            label="Find", placeholder="words in sample, label, inputs or error code", min_width=280, elem_id="find-case"
        )
        only_wrong = gr.Checkbox(value=True, label="Wrong ones only", elem_id="only-wrong")
    cases = gr.HTML(elem_id="cases")
    sample = gr.Textbox(label="Sample", placeholder="id of one sample", elem_id="sample")
    case = gr.HTML(elem_id="case")

    def describe(name: str) -> str:
        return _safely(lambda: run_views.run_details(runs.get(name).results))

    def list_cases(name: str, found: str | None, wrong: bool) -> str:
        return _safely(lambda: run_views.cases_table(runs.cases(name), found or "", only_wrong=wrong))

    def show_case(name: str, sample_id: str | None) -> str:
        return _safely(lambda: run_views.case_details(runs.cases(name), (sample_id or "").strip()))

    gr.on([blocks.load, run.change], describe, run, details, api_name="details", **_EVENT)
    listing = [blocks.load, run.change, words.change, only_wrong.change]
    gr.on(listing, list_cases, [run, words, only_wrong], cases, api_name="cases", **_EVENT)
    gr.on([run.change, sample.change], show_case, [run, sample], case, api_name="case", **_EVENT)


def _two_runs(runs: Runs) -> None:
    names = runs.names()
    with gr.Row():
        first = gr.Dropdown(names, value=names[0], label="First", elem_id="first")
        second = gr.Dropdown(names, value=names[-1], label="Second", elem_id="second")
    compare = gr.Button("Compare", variant="primary", elem_id="compare")
    found = gr.HTML(elem_id="comparison")

    def show(a: str, b: str) -> str:
        pair = _safely(lambda: run_views.paired(runs.compare(a, b)))
        alone = _safely(lambda: run_views.side_by_side(runs.get(a), runs.get(b)))
        return f"<h3>Paired differences</h3>{pair}<h3>Each on its own samples</h3>{alone}"

    compare.click(show, [first, second], found, api_name="compare", **_EVENT)


def _safely(render: Callable[[], str]) -> str:
    try:
        return render()
    except MedmmError as error:
        return views.failure(error.code, error.message)
