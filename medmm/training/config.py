"""All choices of a training run in one frozen record."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from medmm.errors import TaskError


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train; stored in the run so that it can be repeated or resumed.

    Attributes:
        fusion: Name of a fusion layer.
        image_encoder, text_encoder: Names of encoders.
        text_source: Folder or hub name of a Hugging Face encoder; sets `text_encoder` to `huggingface`.
        modalities: What the model may read.
        epochs: Most passes over the training data.
        patience: Epochs without a better validation macro-F1 after which training stops, counted once
            the learning rate has started to fall.
        batch_size, learning_rate, weight_decay, smoothing: Optimisation (AdamW, one cosine cycle).
        loss_parts: Weight of the fused loss and of each modality's own.
        class_weights: `balanced` lets every class count alike, `none` leaves frequencies.
        voxels: Budget of one network input.
        max_tokens: Longest note.
        width: Channels in which modalities meet.
        augment: Whether training images are varied.
        fractions: Shares of patients for train, val and test when the cohort states no split.
        precision: `bf16` mixed precision, `fp32`, or `auto`: bf16 on CUDA devices that have it.
        seed: Seed of every random choice.
    """

    fusion: str = "concat"
    image_encoder: str = "resnet"
    text_encoder: str = "transformer"
    text_source: str | None = None
    modalities: tuple[str, ...] = ("image", "text")
    epochs: int = 30
    patience: int = 10
    batch_size: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    smoothing: float = 0.05
    loss_parts: dict[str, float] = field(default_factory=lambda: {"fused": 1.0, "image": 0.5, "text": 0.5})
    class_weights: Literal["balanced", "none"] = "balanced"
    voxels: int = 64**3
    max_tokens: int = 256
    width: int = 128
    augment: bool = True
    fractions: tuple[float, float, float] = (0.6, 0.15, 0.25)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def config_from(given: dict[str, Any], settings: list[str]) -> TrainConfig:
    """Build a configuration from named values and `key=value` texts, the latter winning.

    Raises:
        TaskError: If a key is unknown (the message names the nearest) or a value does not fit.
    """
    values = dict(given)
    known = [f.name for f in fields(TrainConfig)]
    for setting in settings:
        key, _, text = setting.partition("=")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            msg = f"Expected --set with one of {', '.join(known)}; got {key!r}.{hint}"
            raise TaskError(msg)
        values[key] = _parsed(text)
    try:
        return TypeAdapter(TrainConfig).validate_python(values)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        msg = f"Expected values that fit TrainConfig; these do not: {where}."
        raise TaskError(msg) from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
