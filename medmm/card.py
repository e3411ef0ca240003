"""The model card: what a model is, what it was fitted on, how good it was measured to be, where it ends."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medmm.model import ModelConfig
from medmm.prediction import DISCLAIMER
from medmm.results import Arm, Results

_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"
_HEADLINE = ("auroc", "auroc_macro", "f1_macro", "brier", "log_loss")
_NOT_MEASURED = "Not measured yet: run `medmm eval run`, then `medmm eval score --into-card`."


def render_card(name: str, model: ModelConfig, fitted_on: Sequence[str], calibrated: Sequence[str]) -> str:
    """Markdown with a Hugging Face model-card header.

    Args:
        name: Of the model.
        model: Architecture and labels.
        fitted_on: Sentences about the training data and how it was used.
        calibrated: Patterns of modalities that have a calibration.
    """
    lines = [
        "---",
        "library_name: medmm",
        "license: apache-2.0",
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
    if model.image is not None:
        recipe = model.image.recipe
        size, spacing = " x ".join(str(n) for n in recipe.shape), " x ".join(f"{s:g}" for s in recipe.spacing)
        lines.append(f"Images: {recipe.modality} in {recipe.unit}, resampled to {size} voxels of {spacing} mm, RAS+.")
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


def with_measured(card: str, results: Results) -> str:
    """The card with its measured section replaced by these results."""
    section = "\n".join([_BEGIN, *_measured(results), _END])
    return re.sub(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", lambda _: section, card, flags=re.DOTALL)


def _measured(results: Results) -> list[str]:
    names = [n for n in _HEADLINE if n in results.arms[0].metrics]
    lines = [
        f"Task {results.task} version {results.task_version}, split {results.split}: {results.counts.scored} samples of "
        f"{results.counts.patients} patients; {results.intervals.level:.0%} intervals by {results.intervals.method}.",
        "",
        f"| inputs | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
        *(f"| {arm.name} | {' | '.join(_cell(arm, name) for name in names)} |" for arm in results.arms),
    ]
    return lines + [f"\n{note}" for note in results.notes]


def _cell(arm: Arm, name: str) -> str:
    found = arm.metrics[name]
    if found.value is None:
        return "undefined"
    interval = "" if found.low is None or found.high is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.value:.3f}{interval}"
