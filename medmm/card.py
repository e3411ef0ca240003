"""The model card: what a model is, what it was fitted on, how good it was measured to be, where it ends."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import yaml

from medmm.model import ModelConfig
from medmm.prediction import DISCLAIMER
from medmm.report.card_block import card_header, measured_table, model_index
from medmm.results import Results

OWN_LICENCE = "apache-2.0"
"""Of a model that nobody else's binds."""

_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"
_HEADER = re.compile(r"---\n(.*?\n)---\n", flags=re.DOTALL)
_NOT_MEASURED = "Not measured yet: run `medmm eval run`, then `medmm eval score --into-card`."


def render_card(
    name: str, model: ModelConfig, fitted_on: Sequence[str], calibrated: Sequence[str],
    learned: Mapping[str, float] | None = None, *, licence: str = OWN_LICENCE,
) -> str:  # fmt: skip
    """Markdown with a Hugging Face model-card header.

    Args:
        name: Of the model.
        model: Architecture and labels.
        fitted_on: Sentences about the training data and how it was used.
        calibrated: Patterns of modalities that have a calibration.
        learned: What the fusion learned in single numbers, such as `alpha/image`.
        licence: As the Hub names it; that of published weights the model was trained from binds it too.
    """
    lines = [
        "---",
        "library_name: medmm",
        f"license: {licence}",
        "tags: [medical-imaging, multimodal, calibrated, research-only]",
        "---",
        f"# {name}",
        "",
        f"**{DISCLAIMER}**",
        "",
        "## What it does",
        "",
        f"Predicts {', '.join(model.labels)} ({model.kind}) from {' and '.join(model.modalities)}; any of them may be missing.",
        f"Fusion: {model.fusion}. Probabilities are calibrated for: {', '.join(calibrated) or 'nothing'}.",
    ]
    if model.members > 1:
        lines.append(f"The mean of {model.members} networks, each trained by itself from another random start.")
    if learned:
        lines.append(f"Learned by the fusion: {', '.join(f'{key} {value:.3g}' for key, value in learned.items())}.")
    if model.tasks:
        asked = (f"{task.name} ({task.kind}, {'calibrated' if task.slope else 'not calibrated'})" for task in model.tasks)
        lines.append(f"It also answers: {', '.join(asked)}.")
    if model.image is not None:
        recipe = model.image.recipe
        size, spacing = " x ".join(str(n) for n in recipe.shape), " x ".join(f"{s:g}" for s in recipe.spacing)
        lines.append(f"Images: {recipe.modality} in {recipe.unit}, resampled to {size} voxels of {spacing} mm, RAS+.")
    if model.text is not None and model.text.recipe.sections is not None:
        read = " and ".join(name or "text under no heading" for name in model.text.recipe.sections)
        lines.append(f"Notes: {read} alone; other sections are left out, in training and in use.")
    lines += [
        "",
        "## What it was fitted on",
        "",
        *fitted_on,
        "",
        "## How good it was measured to be",
        "",
        _BEGIN,
        _NOT_MEASURED,
        _END,
    ]
    lines += [
        "",
        "## Limits",
        "",
        "Valid at most for patients, scanners and wording like those it was fitted on; nothing is known about other sites.",
        "It refuses images of another modality or unit, and says so when the field of view is unlike its own; beyond that it",
        "does not know when a study is of another kind.",
        "",
    ]
    return "\n".join(lines)


def licence_of(card: str) -> str:
    """What a card's header names; `other` when it names none."""
    header = _HEADER.match(card)
    return str((yaml.safe_load(header[1]) if header else {}).get("license") or "other")


def with_compression(card: str, told: Sequence[str]) -> str:
    """The card of a model made smaller: what was done to it, and nothing that was measured before."""
    section = "\n".join([_BEGIN, _NOT_MEASURED, _END])
    card = re.sub(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", lambda _: section, card, flags=re.DOTALL)
    heading = "## How good it was measured to be"
    card = card.replace(heading, "\n".join(["## How it was made smaller", "", *told, "", heading]), 1)
    return _with_header(card, {"model-index": None})


def with_measured(card: str, results: Results) -> str:
    """The card with its measured section, and its header's `model-index`, replaced by these results."""
    section = "\n".join([_BEGIN, measured_table(results), _END])
    card = re.sub(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", lambda _: section, card, flags=re.DOTALL)
    title = re.search(r"^# (.+)$", card, flags=re.MULTILINE)
    return _with_header(card, {"model-index": model_index(title[1] if title else results.task, results)})


def _with_header(card: str, entries: Mapping[str, object]) -> str:
    """The card with these entries in its header; empty ones are left out."""
    header = _HEADER.match(card)
    if header is None:
        return card
    content = yaml.safe_load(header[1]) | entries
    return card_header({key: value for key, value in content.items() if value}) + card[header.end() :]
