"""The model card: what the model is, what it was fitted on, how good it was measured to be, where it ends."""

from __future__ import annotations

from typing import Any

from medmm.model import ModelConfig
from medmm.prediction import DISCLAIMER
from medmm.training.config import TrainConfig


def render_card(
    name: str,
    model: ModelConfig,
    training: TrainConfig,
    facts: dict[str, Any],
    calibrated: list[str],
    results: dict[str, Any],
) -> str:
    """Markdown with a Hugging Face header.

    Args:
        name: Of the model.
        model: Architecture.
        training: Choices of the run.
        facts: Numbers of training samples, patients and failures.
        calibrated: Patterns that have a calibration.
        results: Measured quality in the form of `results.json`, empty when there is none.
    """
    recipe = model.image.recipe if model.image is not None else None
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
        f"Predicts one of {', '.join(model.labels)} ({model.kind}) from {' and '.join(model.modalities)}; any of them may be missing.",
        f"Fusion: {model.fusion}. Probabilities are calibrated for: {', '.join(calibrated) or 'nothing'}.",
    ]
    if recipe is not None:
        size = " x ".join(str(n) for n in recipe.shape)
        spacing = " x ".join(f"{s:g}" for s in recipe.spacing)
        lines.append(f"Images: {recipe.modality} in {recipe.unit}, resampled to {size} voxels of {spacing} mm, RAS+.")
    lines += [
        "",
        "## What it was fitted on",
        f"{facts['n_train']} studies for the weights, {facts['n_val']} for stopping, calibration and thresholds; "
        f"{facts['patients']} patients in all; {facts['failed']} studies could not be read.",
    ]
    if "folds" in facts:
        lines.append(
            f"Calibration and thresholds come from {facts['folds']}-fold predictions by weights that had not seen the case."
        )
    lines += [f"Seed {training.seed}; every choice is in `train.json` of the run.", "", "## How good it was measured to be"]
    lines += _measured(results) if results else ["Not measured yet: run `medmm eval run` and `medmm eval score`."]
    lines += [
        "",
        "## Limits",
        "Valid at most for patients, scanners and wording like those it was fitted on. Nothing is known about other sites. "
        "It does not know when a study is of another kind beyond modality, unit and field of view.",
        "",
    ]
    return "\n".join(lines)


def _measured(results: dict[str, Any]) -> list[str]:
    lines = [f"{results['what']}: {results['n']} samples of {results['patients']} patients.", ""]
    lines += ["| inputs | AUROC | macro-F1 | Brier | log-loss |", "|---|---|---|---|---|"]
    for arm, metrics in results["arms"].items():
        cells = [_cell(metrics.get(key)) for key in ("auroc", "f1_macro", "brier", "log_loss")]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return lines


def _cell(entry: dict[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return "undefined"
    interval = f" [{entry['low']:.3f}, {entry['high']:.3f}]" if entry["low"] is not None else ""
    return f"{entry['value']:.3f}{interval}"
