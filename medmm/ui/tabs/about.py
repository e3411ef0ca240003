"""What the models are and where they end, where the examples come from, and whose software this stands on."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import gradio as gr

from medmm.errors import MedmmError
from medmm.ui.blocks import HIDDEN
from medmm.ui.licences import third_party
from medmm.ui.page import Page
from medmm.ui.speech import label, language
from medmm.ui.words import Language, say

_HEADER = re.compile(r"\A---\n.*?\n---\n", flags=re.DOTALL)
_TABLE = re.compile(r"(?:^\|.*\n?)+", flags=re.MULTILINE)


def build(page: Page, blocks: gr.Blocks) -> None:
    """Lay the tab out and wire it."""
    models = page.models()
    chosen = gr.Dropdown(models, value=models[0] if models else None, label=label("model"), elem_id="about-model")
    card = gr.Markdown(elem_id="card", elem_classes="mm-card")
    sources, software = gr.HTML(elem_id="sources"), gr.HTML(elem_id="software")
    gr.on([blocks.load, chosen.change], _card(page), chosen, card, api_name="card", **HIDDEN)
    blocks.load(_origins(page), None, [sources, software], api_name="origins", **HIDDEN)


def _card(page: Page) -> Any:
    def card(model: str, request: gr.Request) -> str:
        name = say(language(request), "evaluation_metrics")
        scrolled = rf'<div class="mm-scroll" tabindex="0" role="region" aria-label="{name}">\n\n\g<0>\n</div>\n'
        try:
            return _TABLE.sub(scrolled, _HEADER.sub("", str(page.about(model)["card"])))
        except MedmmError as error:
            return f"{error.code}: {error.message}"

    return card


def _origins(page: Page) -> Any:
    def origins(request: gr.Request) -> tuple[str, str]:
        spoken = language(request)
        return _sources(page, spoken), _software(spoken)

    return origins


def _sources(page: Page, spoken: Language) -> str:
    """Where the example studies come from, each source once."""
    items = "".join(f"<li>{escape(source)}</li>" for source in dict.fromkeys(e.attribution for e in page.examples))
    return f'<h2 class="mm-heading">{say(spoken, "about_sources")}</h2><ul>{items}</ul>' if items else ""


def _software(spoken: Language) -> str:
    """The packages it needs, as a table."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(version)}</td><td>{escape(licence)}</td></tr>'
        for name, version, licence in third_party()
    )
    heads = "".join(f'<th scope="col">{say(spoken, key)}</th>' for key in ("about_package", "about_version", "about_licence"))
    return (
        f'<h2 class="mm-heading">{say(spoken, "about_software")}</h2><p>{say(spoken, "about_ours")}</p>'
        f'<div class="mm-result mm-scroll" tabindex="0" role="region" aria-label="{say(spoken, "about_software")}">'
        f'<table class="mm-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
