"""The patient's values: one field for each that the chosen model reads, every one of which may stay empty."""

from __future__ import annotations

from typing import Any

import gradio as gr

from medmm.errors import MedmmError
from medmm.ui.blocks import HIDDEN
from medmm.ui.page import Page
from medmm.ui.speech import label

Cells = dict[str, str]
"""Name of each value to its text, as typed."""


def build(page: Page, model: gr.Dropdown, held: float) -> gr.State:
    """Lay the form out, anew for each model; returns where the values are.

    Args:
        page: Whose models are described.
        model: The chosen one.
        held: Seconds that the server remembers the values.
    """
    cells = gr.State({}, time_to_live=held)

    @gr.render(inputs=model, show_progress="hidden")  # type: ignore[untyped-decorator]  # Gradio's own
    def form(chosen: str) -> None:
        fields = _fields(page, chosen)
        if not fields:
            return
        with gr.Group(elem_id="values"):
            gr.HTML(f'<p class="mm-muted">{label("values")}</p>', padding=True)
            with gr.Row():
                for field in fields:
                    _input(field, cells)

    return cells


def only_of(model_about: dict[str, Any], cells: Cells | None) -> Cells:
    """The values that a model reads, of all that were typed."""
    names = {field["name"] for field in model_about["tabular"]}
    return {name: cell for name, cell in (cells or {}).items() if name in names and cell}


def _fields(page: Page, model: str) -> list[dict[str, Any]]:
    try:
        return list(page.about(model)["tabular"])
    except MedmmError:
        return []  # said where the model is described


def _input(field: dict[str, Any], cells: gr.State) -> None:
    name, key = field["name"], f"value-{field['name']}"
    if field["kind"] == "category":
        box: Any = gr.Dropdown([("", ""), *field["words"]], value="", label=name, key=key, min_width=140, allow_custom_value=False)
    else:
        unit = f" ({field['unit']})" if field["unit"] else ""
        box = gr.Textbox(
            label=name + unit, placeholder=f"{field['low']:g} … {field['high']:g}", key=key, min_width=140, max_length=32, lines=1
        )

    def keep(cell: str | None, kept: Cells | None) -> Cells:
        return {**(kept or {}), name: (cell or "").strip()}

    box.change(keep, [box, cells], cells, show_progress="hidden", **HIDDEN)
