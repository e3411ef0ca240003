"""What the documents say of the image encoders is what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medmm.training import TrainConfig

ROOT = Path(__file__).parents[2]
NETWORKS = {
    "MONAI ResNet-18": "MONAI ResNet-18",
    "MONAI DenseNet-121": "MONAI DenseNet-121",
    "resnet": "`resnet` (default)",
    "patch": "`patch`",
    "patch, cubes of 8": "`patch` with `patch: 8, widths: [96, 192]`",
}


def measured(name: str) -> dict[str, Any]:
    path = ROOT / "eval" / "results" / "image_encoders" / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def speed_of(name: str, what: str, precision: str) -> dict[str, Any]:
    (row,) = (r for r in measured("speed")["rows"] if (r["network"], r["what"], r["precision"]) == (name, what, precision))
    return dict(row)


@pytest.mark.parametrize("row", measured("accuracy")["rows"], ids=lambda row: row["network"])
def test_the_document_of_results_quotes_accuracy_beside_speed(row: dict[str, Any]) -> None:
    name = row["network"]
    own = f"{row['auroc']:.3f} ({row['auroc_low']:.3f} to {row['auroc_high']:.3f})"
    gap = f" {row['difference']:.3f} ({row['low']:.3f} to {row['high']:.3f}) " if name != row["reference"] else " "
    rates = " | ".join(f"{speed_of(name, what, 'fp32')['studies_per_second']:.1f}" for what in ("forward", "training step"))
    share = speed_of(name, "forward", "bf16")["of_bf16_matrix_rate"]
    line = f"| {NETWORKS[name]} | {own} |{gap}| {rates} | {share:.2f} |"
    assert line in (ROOT / "eval" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_method_quotes_the_speed(name: str) -> None:
    jobs = [(what, precision) for what in ("forward", "training step") for precision in ("fp32", "bf16")]
    rates = [(speed_of(name, *job), speed_of("MONAI ResNet-18", job[0], "fp32")) for job in jobs]
    times = [own["studies_per_second"] / base["studies_per_second"] for own, base in rates]
    said = " | ".join("1" if time == 1 else f"{time:.1f}" for time in times)
    line = f"| {NETWORKS[name]} | {said} | {measured('speed')['peak_training_mb'][name]:.0f} |"
    assert line in (ROOT / "docs" / "method.md").read_text(encoding="utf-8")


def test_the_default_is_the_encoder_that_the_others_were_compared_with() -> None:
    assert {row["reference"] for row in measured("accuracy")["rows"]} == {TrainConfig().image_encoder}
