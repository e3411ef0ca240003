"""What the page refuses before it is built; building and serving it is `tests/browser`'s."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from medmm.errors import MedmmError, ModelError
from medmm.ui import build_app


@pytest.mark.parametrize("name", ["GRADIO_VIBE_MODE", "GRADIO_SHARE", "GRADIO_ALLOWED_PATHS", "GRADIO_HISTORY_BUCKET"])
def test_an_unsafe_environment_is_refused_by_name_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "SECRET")
    before = set(Path(tempfile.gettempdir()).glob("medmm-page-*"))
    with pytest.raises(MedmmError, match=name) as caught:
        build_app()
    assert "SECRET" not in caught.value.message
    assert caught.value.message.count("GRADIO_") == 5
    assert set(Path(tempfile.gettempdir()).glob("medmm-page-*")) <= before


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ModelError):
        build_app("no_such_model")


def test_the_page_and_its_handlers_are_imported_without_gradio_and_torch() -> None:
    code = "import sys, medmm.ui, medmm.ui.tasks; print([m for m in ('gradio', 'torch', 'pydicom') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"
