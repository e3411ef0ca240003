"""The web page. The only part of medmm that imports gradio."""

from __future__ import annotations

import os
from typing import Any

from medmm.errors import MedmmError
from medmm.ui.page import Page

_REFUSED = ("GRADIO_VIBE_MODE", "GRADIO_SHARE", "GRADIO_ALLOWED_PATHS", "GRADIO_HISTORY_BUCKET")
_SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_FLAGGING_MODE": "never",
    "GRADIO_CACHE_EXAMPLES": "false",
    "HF_HUB_OFFLINE": "1",
}


def build_app(model: str | None = None) -> Any:
    """Build the page and start loading its model.

    Args:
        model: Name of a shipped model, or a model folder; a choice of the shipped ones when None.

    Returns:
        `gradio.Blocks`; its `launch` has the settings a page with patient data needs.

    Raises:
        MedmmError: If the environment asks for something unsafe, or there is no such model.
    """
    unsafe = [name for name in _REFUSED if os.environ.get(name)]
    if unsafe:
        msg = f"Expected none of {', '.join(_REFUSED)} in the environment; found {', '.join(unsafe)}. Unset it."
        raise MedmmError(msg)
    page = Page(model)
    page.warm()  # in a process of its own, beside the import of gradio
    os.environ.update(_SETTINGS)
    os.environ["GRADIO_TEMP_DIR"] = str(page.sessions.uploads)  # read when gradio is imported

    from medmm.ui.app import layout

    return layout(page)


def serve(model: str | None = None, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Build the page and serve it until interrupted; prints its address."""
    build_app(model).launch(server_name=host, server_port=port)
