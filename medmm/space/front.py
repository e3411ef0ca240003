"""What a Space says of itself, and how it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

import yaml

from medmm.prediction import DISCLAIMER
from medmm.shelf import Example
from medmm.space.checks import card_header
from medmm.space.pins import PYTHON, installed

LARGE_FILES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.zip filter=lfs diff=lfs merge=lfs -text\n"
"""`.gitattributes`: the Hub takes large files only this way."""

_SHORT = "CT and note in, one calibrated probability out. Research."


@dataclass(frozen=True, slots=True)
class Shipped:
    """A model of the bundle.

    Attributes:
        name: As the page shows it.
        licence: Of its card.
        card: Markdown text.
    """

    name: str
    licence: str
    card: str


def readme(models: Sequence[Shipped], examples: Sequence[Example]) -> str:
    """README.md: the header that the Hub reads, and what a visitor of the repository must know."""
    header: dict[str, Any] = {
        "title": "medmm",
        "colorFrom": "blue",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": installed("gradio"),
        "python_version": PYTHON,
        "app_file": "app.py",
        "license": "apache-2.0",
        "short_description": _SHORT,
        "tags": ["medical-imaging", "multimodal", "calibrated", "research-only"],
        "pinned": False,
        "disable_embedding": True,
    }
    if bases := _bases(models):
        header["models"] = bases
    sources = dict.fromkeys(f"- {example.attribution}" for example in examples)
    lines = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
        "# medmm",
        f"**{DISCLAIMER}**",
        "A patient's CT and clinical note in, one calibrated probability out, with the proof of how good it is. "
        "Nothing that names a patient may be uploaded; what is uploaded is removed after use.",
        "## Models",
        "\n".join(
            f"- `{model.name}`, {model.licence}: see its card, `medmm/assets/models/{model.name}/card.md`." for model in models
        ),
        "## Example studies",
        "\n".join(sources) or "None.",
        "## Licence",
        "Code: Apache-2.0, see `LICENSE`. Models and example studies: as named above. Built with `medmm space build`.",
    ]
    return "\n\n".join(lines) + "\n"


def app(model: str | None, *, zero_gpu: bool) -> str:
    """app.py: what the Space runs.

    Args:
        model: The one it offers; a choice of all when None.
        zero_gpu: Whether a GPU is lent to it for each answer.
    """
    early = "import spaces  # noqa: F401 - must come before anything that could initialise CUDA\n\n" if zero_gpu else ""
    chosen = "" if model is None else repr(model)
    return (
        dedent('''\
        """The page, with all it needs beside this file. Research use only: see README.md."""

        import os
        import sys
        from pathlib import Path

        HERE = str(Path(__file__).resolve().parent)
        os.environ["PYTHONPATH"] = HERE  # the page's helper processes find medmm where this one does
        sys.path.insert(0, HERE)

        ''')
        + early
        + dedent(f"""\
        from medmm.ui import build_app

        demo = build_app({chosen})

        if __name__ == "__main__":
            demo.launch()
        """)
    )


def _bases(models: Sequence[Shipped]) -> list[str]:
    """Names on the Hub of what the models were made from, where their cards tell."""
    named = [card_header(model.card).get("base_model") for model in models]
    flat = [base for entry in named for base in (entry if isinstance(entry, list) else [entry])]
    return sorted({base for base in flat if isinstance(base, str) and base.count("/") == 1})
