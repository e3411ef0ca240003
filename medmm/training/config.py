"""All choices of a training run in one frozen record."""

from __future__ import annotations

import difflib
import inspect
import json
import re
from dataclasses import asdict, dataclass, field, fields
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from medmm.device import Precision
from medmm.encoders import ENCODERS
from medmm.errors import TaskError
from medmm.fusion import FUSIONS
from medmm.sections import BEFORE_READING, SectionName
from medmm.study import Quantity
from medmm.tasks import FurtherTask
from medmm.training.adapters import Peft
from medmm.training.adversarial import Attack
from medmm.transforms.augment.choice import Amount, Augmentation, Share
from medmm.types import MODALITIES, Modality
from medmm.yaml_text import read_yaml


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        msg = "the first must be below the second"
        raise ValueError(msg)
    return bounds


ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Bounds = Annotated[tuple[Finite, Finite], AfterValidator(_in_order)]

Part = Literal["fused"] | Modality
Asked = Literal["whole", "subsets"]
Tracker = Literal["tensorboard", "mlflow", "trackio", "wandb", "none"]


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
        fusion_options: Of fusion layers, by name; those of the chosen one count.
        text_source: Folder or hub name of a Hugging Face encoder; sets `text_encoder` to `huggingface`.
        init: Folder of `medmm pretrain` whose encoders, recipes and tokenizer this model starts from.
        audio_source: Folder or hub name of a Hugging Face speech encoder, for `huggingface_mel` or `huggingface_waveform`.
        image_source: File of published weights, for an image encoder that has any, such as `merlin`.
        modalities: What the model may read; it reads those of them that the training cases have.
        tabular: Columns of the cohort that are tabular values.
        units: Unit of a column of numbers, where there is one.
        believable: Least and largest believable value of a column of numbers; a study with another is refused.
        tasks: Further tasks learned beside the labels, each with a column of the cohort, a kind and labels.
        task_weights: `fixed` weights of their losses, or `uncertainty` to learn them.
        images: Most images of one study that are read.
        audio_seconds: Longest recording.
        labels_from: `reports` when labels were read off reports: then only the indication of a note is read.
        note_sections: Sections of notes that are read instead, "" for what stands under no heading.
        epochs: Most passes over the training data.
        patience: Epochs without a better one, as `judge` says, after which training stops, counted once
            the learning rate has started to fall.
        judge: What tells on the validation side which epoch is best and kept: macro-F1, or the loss, which also hears of
            ranks and probabilities that change no decision.
        judge_on: What `judge` looks at: answers from the `whole` of what cases have, or the mean over the `subsets` of
            modalities, so that one that learns late is not cut off where the others make up for it.
        batch_size: Cases of one step, or of one part of it (see `accumulate`).
        accumulate: Parts of a step, computed one after another: a step then learns from `accumulate` times `batch_size` cases.
        optimizer: `adamw`, `adam`, `radam`, `sgd` (Nesterov) or `rmsprop`.
        momentum: Of `sgd` and `rmsprop`.
        learning_rate: At its highest.
        schedule: How it falls: `cosine`, `linear`, or `constant` when it does not.
        warmup: Share of the steps in which it rises.
        weight_decay: Of matrices; biases, norms and the alpha of a weighted fusion have none.
        clip: Longest gradient, 0 for any.
        ema: Epochs that the averaged weights remember, which are judged and kept; 0 keeps those of the last step.
        smoothing: Share of each target spread over all classes.
        loss_parts: Weight of the fused loss and of each modality's own; one left out weighs nothing.
        pretrained_rate: Learning rate of an encoder that came with weights.
        frozen: Modalities whose encoder keeps the weights it begins with.
        unfreeze: Of an encoder that is opened layer by layer from its output: epochs until the next one learns.
        peft: Adapters that learn in place of the encoder they stand in, by modality; merged into it in the end.
        layer_decay: Learning rate of a layer of an encoder over that of the layer after it.
        loss: `cross_entropy`, `focal` (Lin 2017) or `logit_adjusted` (Menon 2021, takes class weights `none`).
        focal_gamma: How far a focal loss discounts what is already answered well.
        adjustment: tau of logit adjustment.
        class_weights: `balanced` lets every class count alike, `effective` nearly so (Cui 2019), `none` leaves frequencies.
        effective_beta: Of the effective numbers n -> (1 - beta^n) / (1 - beta).
        voxels: Budget of one network input.
        max_tokens: Longest note.
        width: Channels in which modalities meet; a multiple of the 4 attention heads.
        vote: Weight of each modality's own logits beside the fused ones in the joint answer; a fusion of logits has no vote.
        augment: Whether training studies are varied.
        augmentation: How, for each modality; by default images alone, and a little.
        modality_dropout: Chance of each modality of a case to be hidden from the fusion in a step (Neverova et al. 2016), so that
            it learns to answer from every subset; one that would lose all keeps all, and own heads go on seeing theirs.
        mixup: Alpha of the mixing of studies (Zhang et al. 2018); 0 mixes none.
        adversarial: Training on studies changed to mislead; none by default.
        distill_temperature: How far `medmm distill` softens teacher and student.
        distill_weight: Share of the teacher's word in the loss beside the labels.
        nested: Whether the calibration of a fold, of three or more, comes from weights that saw neither that fold nor what they
            answer, K(K - 1)/2 more trainings for K folds; else from those of the other folds, which learned from it: that is
            cheaper, and makes calibration look worse than it is.
        fractions: Shares of patients for train, val and test when the cohort states no split.
        tracker: Where the numbers of each epoch are written: `tensorboard`, `mlflow`, `trackio`, `wandb` or `none`.
        precision: `bf16` or `fp16` mixed precision, `fp32`, or `auto`: bf16 on CUDA devices that have it.
        gradient_checkpointing: Modalities whose encoder computes its blocks again on the way back, to save memory.
        compile: Whether encoders are compiled while they learn.
        members: Networks, each trained by itself from another random start, whose mean probabilities are the model's answer (deep
            ensemble, Lakshminarayanan et al. 2017): as many times the cost, and often better calibrated.
        seed: Seed of every random choice.
        split_seed: Seed of the division of patients, so that several seeds can share one; `seed` when None.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    fusion: str = "concat"
    image_encoder: str = "resnet"
    text_encoder: str = "transformer"
    audio_encoder: str = "cnn"
    tabular_encoder: str = "columns"
    encoder_options: dict[Modality, dict[str, Any]] = field(default_factory=dict)
    fusion_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    text_source: str | None = None
    init: str | None = None
    audio_source: str | None = None
    image_source: str | None = None
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = MODALITIES
    tabular: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    believable: dict[str, Bounds] = field(default_factory=dict)
    tasks: tuple[FurtherTask, ...] = ()
    task_weights: Literal["fixed", "uncertainty"] = "fixed"
    images: Annotated[int, Field(ge=1)] = 4
    audio_seconds: Positive = 30.0
    labels_from: Literal["reports"] | None = None
    note_sections: Annotated[tuple[SectionName, ...], Field(min_length=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] = 30
    patience: Annotated[int, Field(ge=0)] = 10
    judge: Literal["f1_macro", "loss"] = "f1_macro"
    judge_on: Asked = "whole"
    batch_size: Annotated[int, Field(ge=1)] = 8
    accumulate: Annotated[int, Field(ge=1)] = 1
    optimizer: Literal["adamw", "adam", "radam", "sgd", "rmsprop"] = "adamw"
    momentum: ShareBelowOne = 0.9
    learning_rate: Positive = 2e-3
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: ShareBelowOne = 0.2
    weight_decay: Amount = 0.05
    clip: Amount = 1.0
    ema: Amount = 1.5
    pretrained_rate: Positive = 5e-5
    frozen: tuple[Modality, ...] = ()
    unfreeze: dict[Modality, Annotated[int, Field(ge=1)]] = field(default_factory=dict)
    peft: dict[Modality, Peft] = field(default_factory=dict)
    layer_decay: dict[Modality, Annotated[float, Field(gt=0, le=1)]] = field(default_factory=dict)
    smoothing: Share = 0.05
    loss_parts: dict[Part, Amount] = field(default_factory=_fused_and_each)
    loss: Literal["cross_entropy", "focal", "logit_adjusted"] = "cross_entropy"
    focal_gamma: Amount = 2.0
    adjustment: Positive = 1.0
    class_weights: Literal["balanced", "effective", "none"] = "balanced"
    effective_beta: ShareBelowOne = 0.999
    voxels: Annotated[int, Field(ge=8**3)] = 64**3
    max_tokens: Annotated[int, Field(ge=8)] = 256
    width: Annotated[int, Field(ge=4, multiple_of=4)] = 128
    vote: Amount = 0.5
    augment: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    modality_dropout: ShareBelowOne = 0.0
    mixup: Amount = 0.0
    adversarial: Attack = field(default_factory=Attack)
    distill_temperature: Positive = 2.0
    distill_weight: Share = 0.7
    nested: bool = True
    fractions: tuple[Positive, Share, Share] = (0.6, 0.15, 0.25)
    tracker: Tracker = "tensorboard"
    precision: Precision = "auto"
    gradient_checkpointing: tuple[Modality, ...] = ()
    compile: bool = False
    members: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    split_seed: Annotated[int, Field(ge=0)] | None = None

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """Columns of numbers with believable bounds."""
        return tuple(Quantity(name, self.units.get(name, ""), *bounds) for name, bounds in self.believable.items())

    @property
    def member_seeds(self) -> tuple[int, ...]:
        """Seed of each member; the first is that of a model without others, and no two seeds share members."""
        return (self.seed, *(int(np.random.SeedSequence([self.seed, m]).generate_state(1)[0]) for m in range(1, self.members)))

    @property
    def division_seed(self) -> int:
        """Seed of splits and folds."""
        return self.seed if self.split_seed is None else self.split_seed

    @property
    def read_sections(self) -> tuple[SectionName, ...] | None:
        """Sections of notes that are read, None for all: findings and impression state what a report's reader saw."""
        return self.note_sections or (BEFORE_READING if self.labels_from == "reports" else None)

    def encoder(self, name: Modality) -> str:
        """Name of the encoder of a modality."""
        return "huggingface" if name == "text" and self.text_source is not None else str(getattr(self, f"{name}_encoder"))

    def source(self, name: Modality) -> str | None:
        """Where the weights come from that the encoder of a modality begins with; None when they are drawn."""
        return {"image": self.image_source, "text": self.text_source, "audio": self.audio_source}.get(name)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)


def config_from(given: dict[str, Any], settings: list[str]) -> TrainConfig:
    """Build a configuration from named values and `key=value` texts, the latter winning.

    A key with dots reaches into a value, e.g. `loss_parts.text=0.2`; what stands beside it stays.

    Raises:
        TaskError: If a key is unknown (the message names the nearest) or a value does not fit.
    """
    values = dict(given)
    known = [f.name for f in fields(TrainConfig)]
    for setting in settings:
        key, _, text = setting.partition("=")
        path = key.split(".")
        if path[0] not in known:
            msg = f"Expected --set with one of {', '.join(known)}; got {key!r}.{_hint(path[0], known)}"
            raise TaskError(msg)
        values = _placed({**TrainConfig().to_dict(), **values}, path, _parsed(text))
    return checked(values)


def read_config(path: str | Path) -> dict[str, Any]:
    """Choices from a YAML file, e.g. `best.yaml` of `medmm tune`.

    Raises:
        TaskError: If it cannot be read, a key stands twice, or a key or value does not fit; the message names the nearest.
    """
    content = read_yaml(path, "a YAML file with choices of TrainConfig, one a line")
    checked(content)
    return content


def checked(values: dict[str, Any]) -> TrainConfig:
    """Build a configuration that can be trained with.

    Raises:
        TaskError: If a value does not fit, or names something that is not there; the message names the nearest.
    """
    try:
        config = TypeAdapter(TrainConfig).validate_python(values)
        FUSIONS.get(config.fusion)
        fusions = {name: FUSIONS.get(name) for name in config.fusion_options}
        encoders = {name: registry.get(config.encoder(name)) for name, registry in ENCODERS.items()}
    except KeyError as error:
        raise TaskError(*error.args) from None
    except ValidationError as error:
        where = "; ".join(_fault(e["loc"], e["msg"], e["type"], e["input"], e.get("ctx", {})) for e in error.errors()[:3])
        msg = f"Expected values that fit TrainConfig; these do not: {where}."
        raise TaskError(msg) from None
    for name in config.gradient_checkpointing:
        if not hasattr(encoders[name], "recomputable"):
            msg = f"Expected no gradient_checkpointing of {name} with the encoder {config.encoder(name)}, which has no like blocks."
            raise TaskError(msg)
    _refuse_sources(config, encoders)
    _refuse_contradictions(config)
    for name, options in config.encoder_options.items():
        _refuse_unknown_options(f"encoder_options.{name}", encoders[name], options, 1)  # after the recipe
    for fusion, options in config.fusion_options.items():
        _refuse_unknown_options(f"fusion_options.{fusion}", fusions[fusion], options, 2)  # after channels and modalities
    return config


def _refuse_sources(config: TrainConfig, encoders: dict[Modality, Any]) -> None:
    for name in ("image", "audio"):
        if config.source(name) and not hasattr(encoders[name], "load_pretrained"):
            fit = [known for known, encoder in ENCODERS[name].working() if hasattr(encoder, "load_pretrained")]
            msg = f"Expected no {name}_source with the {name} encoder {config.encoder(name)}, which has no published weights. "
            raise TaskError(f"{msg}Set {name}_encoder to {' or '.join(fit)}.")
    if config.text_encoder == "huggingface" and config.text_source is None and config.init is None:
        msg = "Expected text_source or init with the text encoder huggingface; got neither. Name a folder or a hub repository."
        raise TaskError(msg)
    if config.audio_encoder.startswith("huggingface") and config.audio_source is None:
        msg = f"Expected audio_source with the audio encoder {config.audio_encoder}; got none. Name a folder or a hub repository."
        raise TaskError(msg)
    if config.text_encoder == "tower" and config.init is None:
        msg = "Expected init with the text encoder tower, which published weights alone fill; got none. See `medmm models open`."
        raise TaskError(msg)


def _refuse_contradictions(config: TrainConfig) -> None:
    if config.loss == "logit_adjusted" and config.class_weights != "none":
        msg = "Expected class_weights none with loss logit_adjusted, which sees to frequencies itself; got both. Leave one out."
        raise TaskError(msg)
    if config.task_weights == "uncertainty" and (stated := [task.name for task in config.tasks if task.weight != 1]):
        msg = f"Expected no weight of {' and '.join(stated)} with task_weights uncertainty, which learns it. Leave one out."
        raise TaskError(msg)
    for one, other in combinations(("frozen", "unfreeze", "peft"), 2):
        if both := set(getattr(config, one)) & set(getattr(config, other)):
            msg = f"Expected an encoder to be in {one} or in {other}; {' and '.join(sorted(both))} is in both. Leave one out."
            raise TaskError(msg)
    if config.compile and config.adversarial.method is not None:
        msg = "Expected no compile with adversarial training, which reaches into encoders where compiled ones look no more."
        raise TaskError(msg)
    if config.precision == "fp16" and config.adversarial.method is not None:
        msg = "Expected fp32 or bf16 with adversarial training, whose gradients vanish in fp16; got fp16."
        raise TaskError(msg)


def _refuse_unknown_options(where: str, part: Any, options: dict[str, Any], given: int) -> None:
    """Refuse options that a part does not take beside the first arguments, which it is given."""
    parameters = list(inspect.signature(part).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters[given:]]
    for key in options:
        if key not in known:
            msg = f"Expected {where} among {', '.join(known) or 'none'}; got {key!r}.{_hint(key, known)}"
            raise TaskError(msg)


def _fault(where: tuple[int | str, ...], message: str, kind: str, given: Any, context: dict[str, Any]) -> str:
    """One value that does not fit, in words, with the nearest key or word where one is not known."""
    path = [str(step) for step in where if step != "[key]"]
    if kind == "unexpected_keyword_argument":
        return f"{'.'.join(path)}: there is no such key.{_hint(path[-1], _keys_at(path[:-1]))}"
    words = re.findall(r"'([^']*)'", context.get("expected", "")) if kind == "literal_error" else []
    return f"{'.'.join(path)}: {message}{_hint(str(given), words)}"


def _keys_at(path: list[str]) -> list[str]:
    """Keys of the record that lies there."""
    record: Any = TrainConfig
    for step in path:
        within = get_args(record)  # of a tuple or a mapping
        record = (within[0] if step.isdigit() else within[1]) if within else get_type_hints(record)[step]
    return [f.name for f in fields(record)]


def _hint(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _placed(values: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """The values with one more at the end of a path of keys."""
    key, *rest = path
    if not rest:
        return values | {key: value}
    inside = values.get(key, {})
    if not isinstance(inside, dict):
        msg = f"Expected a key without dots, as {key} holds one value; got {'.'.join(path)!r}."
        raise TaskError(msg)
    return values | {key: _placed(inside, rest, value)}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
