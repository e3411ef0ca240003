"""The web pages. The only part of medmm that imports gradio."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from medmm.errors import MedmmError
from medmm.scratch import private_folder

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
    _refuse_unsafe_environment()
    from medmm.ui.page import Page

    page = Page(model)
    page.warm()  # in a process of its own, beside the import of gradio
    _prepare_gradio(page.sessions.uploads)
    from medmm.ui.app import layout

    return layout(page)


def build_view(folder: str | Path) -> Any:
    """Build the page of the measured runs under a folder.

    Args:
        folder: Searched with everything below it.

    Returns:
        `gradio.Blocks`, as of `build_app`.

    Raises:
        MedmmError: If the environment asks for something unsafe, or there is no measured run.
    """
    _refuse_unsafe_environment()
    from medmm.ui.runs import Runs

    runs = Runs(Path(folder))
    scratch = private_folder("medmm-view-")
    _prepare_gradio(scratch)
    from medmm.ui.view import layout

    return layout(runs, lambda: shutil.rmtree(scratch, ignore_errors=True))


def serve(model: str | None = None, host: str = "127.0.0.1", port: int = 7860, **more: bool) -> None:
    """Build the page and serve it until interrupted; prints its address.

    Args:
        model: As for `build_app`.
        host: Address to listen on.
        port: Port.
        **more: Other settings of its `launch`.
    """
    build_app(model).launch(server_name=host, server_port=port, **more)


def serve_view(folder: Path, host: str = "127.0.0.1", port: int = 7861, without_login: bool = False) -> None:
    """Build the page of measured runs and serve it until interrupted; prints its address."""
    build_view(folder).launch(server_name=host, server_port=port, without_login=without_login)


def _refuse_unsafe_environment() -> None:
    unsafe = [name for name in _REFUSED if os.environ.get(name)]
    if unsafe:
        msg = f"Expected none of {', '.join(_REFUSED)} in the environment; found {', '.join(unsafe)}. Unset it."
        raise MedmmError(msg)


def _prepare_gradio(temporary: Path) -> None:
    """What gradio reads when it is imported."""
    os.environ.update(_SETTINGS)
    os.environ["GRADIO_TEMP_DIR"] = str(temporary)
