"""Boxes that files are dropped into."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.data_classes import ListFiles


def upload_box(**settings: Any) -> gr.File:
    """A box whose handlers get the list of what was dropped, as paths; None for nothing.

    Args:
        **settings: Of `gr.File`.
    """
    box = gr.File(**settings)
    box.preprocess = _paths  # type: ignore[method-assign]  # Gradio's leaves an empty file beside each upload
    return box


def _paths(payload: Any) -> list[str] | None:
    if payload is None:
        return None
    return [file.path for file in (payload if isinstance(payload, ListFiles) else [payload])]
