"""All choices of a training run in one frozen record."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from medmm.encoders import ENCODERS
from medmm.errors import TaskError
from medmm.fusion import FUSIONS
from medmm.types import MODALITIES, Modality

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


Part = Literal["fused"] | Modality


def _fused_and_each() -> dict[Part, float]:
    weights: dict[Part, float] = {"fused": 1.0}
    return weights | dict.fromkeys(MODALITIES, 0.5)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train; stored in the run so that it can be repeated or resumed.

    Attributes:
        fusion: Name of a fusion layer.
        image_encoder, text_encoder, audio_encoder, tabular_encoder: Names of encoders.
        encoder_options: Of each encoder, by modality.
        text_source: Folder or hub name of a Hugging Face encoder; sets `text_encoder` to `huggingface`.
        modalities: What the model may read; it reads those of them that the training cases have.
        tabular: Columns of the cohort that are tabular values.
        units: Unit of a column of numbers, where there is one.
        images: Most images of one study that are read.
        audio_seconds: Longest recording.
        epochs: Most passes over the training data.
        patience: Epochs without a better validation macro-F1 after which training stops, counted once
            the learning rate has started to fall.
        batch_size, learning_rate, weight_decay, smoothing: Optimisation (AdamW, one cosine cycle).
        loss_parts: Weight of the fused loss and of each modality's own; one left out weighs nothing.
        pretrained_rate: Learning rate of the encoder of `text_source`.
        class_weights: `balanced` lets every class count alike, `none` leaves frequencies.
        voxels: Budget of one network input.
        max_tokens: Longest note.
        width: Channels in which modalities meet; a multiple of the 4 attention heads.
        augment: Whether training images are varied.
        fractions: Shares of patients for train, val and test when the cohort states no split.
        precision: `bf16` mixed precision, `fp32`, or `auto`: bf16 on CUDA devices that have it.
        seed: Seed of every random choice.
        split_seed: Seed of the division of patients, so that several seeds can share one; `seed` when None.
    """

    fusion: str = "concat"
    image_encoder: str = "resnet"
    text_encoder: str = "transformer"
    audio_encoder: str = "cnn"
    tabular_encoder: str = "columns"
    encoder_options: dict[Modality, dict[str, Any]] = field(default_factory=dict)
    text_source: str | None = None
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = MODALITIES
    tabular: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    images: Annotated[int, Field(ge=1)] = 4
    audio_seconds: Positive = 30.0
    epochs: Annotated[int, Field(ge=1)] = 30
    patience: Annotated[int, Field(ge=0)] = 10
    batch_size: Annotated[int, Field(ge=1)] = 8
    learning_rate: Positive = 2e-3
    pretrained_rate: Positive = 5e-5
    weight_decay: NotNegative = 0.05
    smoothing: Share = 0.05
    loss_parts: dict[Part, NotNegative] = field(default_factory=_fused_and_each)
    class_weights: Literal["balanced", "none"] = "balanced"
    voxels: Annotated[int, Field(ge=8**3)] = 64**3
    max_tokens: Annotated[int, Field(ge=8)] = 256
    width: Annotated[int, Field(ge=4, multiple_of=4)] = 128
    augment: bool = True
    fractions: tuple[Positive, Share, Share] = (0.6, 0.15, 0.25)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: Annotated[int, Field(ge=0)] = 0
    split_seed: Annotated[int, Field(ge=0)] | None = None

    @property
    def division_seed(self) -> int:
        """Seed of splits and folds."""
        return self.seed if self.split_seed is None else self.split_seed

    def encoder(self, name: Modality) -> str:
        """Name of the encoder of a modality."""
        return str(getattr(self, f"{name}_encoder"))

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
    return checked(values)


def checked(values: dict[str, Any]) -> TrainConfig:
    """Build a configuration that can be trained with.

    Raises:
        TaskError: If a value does not fit, or names something that is not there.
    """
    try:
        config = TypeAdapter(TrainConfig).validate_python(values)
        FUSIONS.get(config.fusion)
        for name, registry in ENCODERS.items():
            registry.get(config.encoder(name))
    except KeyError as error:
        raise TaskError(*error.args) from None
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        msg = f"Expected values that fit TrainConfig; these do not: {where}."
        raise TaskError(msg) from None
    if config.text_encoder == "huggingface" and config.text_source is None:
        msg = "Expected text_source with the text encoder huggingface; got none. Name a folder or a hub repository."
        raise TaskError(msg)
    return config


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
