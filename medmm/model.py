"""The multimodal classifier: one encoder a modality, one fusion, one head on it and one beside it.

    image -> encoder -> project --+--> fusion -> head            (the answer)
    text  -> encoder -> project --+
    audio, tabular likewise   `-> a head for each modality       (auxiliary, training and explanation)

Any modality may be missing, in training and in use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Annotated, Any, Generic, Literal, TypeVar

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import nn

from medmm.encoders import ENCODERS, Encoded
from medmm.encoders.volumes import OverVolumes, own_encoder
from medmm.errors import ModelError, PluginError
from medmm.fusion import FUSIONS, Features, Present
from medmm.fusion.contract import mean_present
from medmm.heads import Head, Logits
from medmm.tasks import FurtherTask, TaskHead
from medmm.transforms.audio import AudioRecipe
from medmm.transforms.batch import Batch, Tensors
from medmm.transforms.columns import TableRecipe
from medmm.transforms.text import TextRecipe
from medmm.transforms.volume import VolumeRecipe
from medmm.types import MODALITIES, Kind, Modality

Recipe = TypeVar("Recipe")
Config = TypeVar("Config")
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Side(Generic[Recipe]):
    """How a model reads one modality.

    Attributes:
        recipe: How its input is made.
        encoder: Name among the encoders of the modality.
        options: Of the encoder.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    recipe: Recipe
    encoder: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything needed to rebuild the network; stored beside its weights.

    Attributes:
        kind: What is predicted.
        labels: Class names in the order of the logits; of a binary task the second is the positive one.
        image, text, audio, tabular: How each modality is read, None when it is not.
        fusion: Name of a fusion layer.
        fusion_options: Of that layer.
        width: Channels in which modalities meet.
        dropout: Before every head.
        tasks: Further tasks, each with a head on the fused feature.
        task_weights: Whether the losses of tasks have fixed weights or learned ones, by uncertainty.
        vote: Weight of each modality's own logits beside the fused ones in the joint answer, so that one
            head misled by few cases does less harm; 0 leaves the fused head alone. The joint answer is what training
            judges, so that the fused logits learn what the votes do not say. Own logits are one term a modality, so
            the answer of an additive fusion stays additive; a fusion of logits has no vote beside it.
        members: Networks whose mean is the answer; see `medmm.ensemble`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: Kind
    labels: tuple[str, ...]
    image: Side[VolumeRecipe] | None = None
    text: Side[TextRecipe] | None = None
    audio: Side[AudioRecipe] | None = None
    tabular: Side[TableRecipe] | None = None
    fusion: str = "concat"
    fusion_options: dict[str, Any] = field(default_factory=dict)
    width: int = 128
    dropout: float = 0.2
    vote: float = 0.5
    tasks: tuple[FurtherTask, ...] = ()
    task_weights: Literal["fixed", "uncertainty"] = "fixed"
    members: Annotated[int, Field(ge=1)] = 1

    @property
    def sides(self) -> dict[Modality, Side[Any]]:
        """What the model reads and how, in canonical order."""
        return {name: side for name in MODALITIES if (side := getattr(self, name)) is not None}

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What the model reads, in canonical order."""
        return tuple(self.sides)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        content: dict[str, Any] = _CONFIG.dump_python(self, mode="json")
        return content

    @classmethod
    def from_dict(cls, content: Any) -> ModelConfig:
        """Rebuild from `to_dict`.

        Raises:
            ModelError: If a key is unknown or a value does not fit.
        """
        return rebuilt(_CONFIG, content, "model")


_CONFIG = TypeAdapter(ModelConfig)


def rebuilt(adapter: TypeAdapter[Config], content: Any, what: str) -> Config:
    """A stored configuration; `what` it is of, for the message.

    Raises:
        ModelError: If a key is unknown or a value does not fit.
    """
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        where = "; ".join(".".join(str(p) for p in e["loc"]) + f" ({e['type']})" for e in error.errors()[:5])
        msg = f"Expected a {what} configuration of this version; these entries do not fit: {where}."
        raise ModelError(msg) from None


def network_of(build: Callable[[Config], Network], config: Config) -> Network:
    """The network of a stored configuration.

    Raises:
        ModelError: If a plug-in it was made with is not installed, or its options fit no network.
        PluginError: If that plug-in is broken.
    """
    try:
        return build(config)
    except KeyError as error:
        msg = f"{error.args[0]} The model was made with a plug-in that is not installed."
        raise ModelError(msg) from None
    except PluginError:
        raise
    except Exception:  # foreign options: every layer refuses in its own way
        msg = "Expected options that fit the encoders and the fusion; the network cannot be built from these."
        raise ModelError(msg) from None


class Classifier(nn.Module, ABC):
    """What a model folder holds and whatever answers with it asks: one network, or several as one.

    Args:
        config: What it is.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @property
    @abstractmethod
    def networks(self) -> tuple[MultimodalClassifier, ...]:
        """Those that answer."""

    @property
    def patterns(self) -> tuple[frozenset[Modality], ...]:
        """Every subset of modalities that can be asked for, the full one first."""
        names = self.config.modalities
        return tuple(frozenset(c) for size in range(len(names), 0, -1) for c in combinations(names, size))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @abstractmethod
    def encode(self, batch: Batch) -> Any:
        """Features of a batch, for the methods below; call them again with other masks for other subsets."""

    @abstractmethod
    def answer(self, features: Any, present: Present) -> torch.Tensor:
        """(B, classes) logits to act on.

        Raises:
            MissingModalityError: If a sample has nothing.
        """

    @abstractmethod
    def answer_each(self, features: Any, present: Present) -> tuple[torch.Tensor, ...]:
        """(B, classes) logits of each of `networks`; see `answer`."""

    @abstractmethod
    def answer_patterns(self, features: Any, present: Present) -> dict[frozenset[Modality], tuple[torch.Tensor, torch.Tensor]]:
        """Answers from every subset of modalities, of what was encoded once.

        Returns:
            For each pattern the (B, classes) logits, NaN where a sample lacks part of it, and the (B,) mask of
            samples that have all of it.
        """

    @abstractmethod
    def further(self, features: Any, present: Present) -> tuple[torch.Tensor, ...]:
        """Output of each further task's head."""

    @abstractmethod
    def learned(self) -> dict[str, float]:
        """What fusion layers learned in single numbers, such as `alpha/image`."""


class MultimodalClassifier(Classifier):
    """The network of `ModelConfig`.

    Args:
        config: What to build.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.encoders = nn.ModuleDict({name: build_encoder(name, side) for name, side in config.sides.items()})
        names = config.modalities
        self.project = nn.ModuleDict({n: build_projection(self.encoders[n], config.width) for n in names})
        classes, fusion = len(config.labels), FUSIONS.get(config.fusion)
        self.fusion = fusion(classes if fusion.joins == "logits" else config.width, names, **config.fusion_options)
        self.head = Head(config.width, classes, config.dropout)
        self.single_heads = nn.ModuleDict({n: Head(config.width, classes, config.dropout) for n in names})
        self.task_heads = nn.ModuleList(TaskHead(config.width, task, config.dropout) for task in config.tasks)
        learned = config.tasks and config.task_weights == "uncertainty"
        self.log_variance = nn.Parameter(torch.zeros(1 + len(config.tasks))) if learned else None

    @property
    def networks(self) -> tuple[MultimodalClassifier, ...]:
        """Itself."""
        return (self,)

    def learned(self) -> dict[str, float]:
        """What the fusion layer learned in single numbers."""
        numbers: dict[str, float] = self.fusion.numbers()
        return numbers

    def own_encoder(self, name: Modality) -> Any:
        """The encoder of a modality, without what pools several images of a study."""
        return own_encoder(self.encoders[name])

    def encode(self, batch: Batch) -> Features:
        """Features of every modality the model reads, in `width` channels; zeros where absent."""
        return {
            name: self._encode_present(name, batch.inputs.get(name), batch.present[name])._replace(trust=batch.trust.get(name))
            for name in self.config.modalities
        }

    def fuse(self, features: Features, present: Present) -> torch.Tensor:
        """(B, classes) fused logits; call again with other masks for other subsets.

        Raises:
            MissingModalityError: If a sample has nothing.
        """
        if self.fusion.joins == "logits":
            own = self.single(features)
            features = {name: encoded._replace(pooled=own[name]) for name, encoded in features.items()}
        fused: torch.Tensor = self.fusion(features, present)
        return fused if self.fusion.joins == "logits" else self.head(fused)

    def single(self, features: Features) -> dict[Modality, torch.Tensor]:
        """(B, classes) logits of each modality's own head."""
        return {name: self.single_heads[name](encoded.pooled) for name, encoded in features.items()}

    def forward(self, batch: Batch) -> Logits:
        """Logits of the fused head and of each modality's own."""
        return self.judge(self.encode(batch), batch.present)

    def judge(self, features: Features, present: Present) -> Logits:
        """Logits of every head; a vote hears nothing of the joint answer's loss, so that each modality's own stay its own."""
        own = self.single(features)
        votes = {name: logits.detach() for name, logits in own.items()}
        return Logits(self._joint(features, present, votes), own, self.further(features, present))

    def further(self, features: Features, present: Present) -> tuple[torch.Tensor, ...]:
        """Output of each further task's head on the fused feature, or on the mean of those present if logits are fused."""
        if not self.config.tasks:
            return ()
        feature = mean_present(features, present) if self.fusion.joins == "logits" else self.fusion(features, present)
        return tuple(head(feature) for head in self.task_heads)

    def answer(self, features: Features, present: Present) -> torch.Tensor:
        """(B, classes) logits to act on: the fused ones with the vote of each modality's own, or a lone modality's own."""
        own = self.single(features)
        alone = torch.stack([mask.long() for mask in present.values()]).sum(0) == 1
        return torch.where(alone[:, None], _sum_present(own, present), self._joint(features, present, own))

    def answer_each(self, features: Features, present: Present) -> tuple[torch.Tensor, ...]:
        """Its own answer."""
        return (self.answer(features, present),)

    def answer_patterns(self, features: Features, present: Present) -> dict[frozenset[Modality], tuple[torch.Tensor, torch.Tensor]]:
        """Answers from every subset of modalities; see `Classifier`."""
        answers = {}
        for pattern in self.patterns:
            complete = torch.stack([present[name] for name in pattern]).all(0)
            logits = torch.full((len(complete), len(self.config.labels)), torch.nan, device=self.device)
            if bool(complete.any()):
                rows = {name: encoded.take(complete) for name, encoded in features.items()}
                given = {name: torch.full_like(mask[complete], name in pattern) for name, mask in present.items()}
                logits[complete] = self.answer(rows, given).to(logits.dtype)
            answers[pattern] = logits, complete
        return answers

    def _joint(self, features: Features, present: Present, votes: dict[Modality, torch.Tensor]) -> torch.Tensor:
        """(B, classes) fused logits with the vote of each modality present."""
        vote = 0.0 if self.fusion.joins == "logits" else self.config.vote
        return self.fuse(features, present) + vote * _sum_present(votes, present)

    def _encode_present(self, name: Modality, inputs: Tensors | None, present: torch.Tensor) -> Encoded:
        """Encode only the samples that have the modality and scatter them into the batch."""
        width, count = self.config.width, len(present)
        if inputs is None or not bool(present.any()):
            empty = torch.zeros(count, 1, width, device=self.device)
            return Encoded(empty, torch.zeros(count, 1, dtype=torch.bool, device=self.device), empty[:, 0])
        encoded = self.encoders[name](*(t[present] for t in inputs))
        tokens, pooled = self.project[name](encoded.tokens), self.project[name](encoded.pooled)
        if bool(present.all()):
            return Encoded(tokens, encoded.mask, pooled)
        return Encoded(_scatter(tokens, present), _scatter(encoded.mask, present), _scatter(pooled, present))


def build_encoder(name: Modality, side: Side[Any]) -> Any:
    """The encoder of a modality; several images of a study are pooled after it."""
    encoder = ENCODERS[name].get(side.encoder)(side.recipe, **side.options)
    return OverVolumes(encoder) if name == "image" and side.recipe.volumes > 1 else encoder


def build_projection(encoder: Any, width: int) -> nn.Module:
    """What brings an encoder's features to `width` channels; a norm would leave of weighted sums their direction alone."""
    norm = nn.Identity() if getattr(encoder, "is_linear", False) else nn.LayerNorm(encoder.out_features)
    return nn.Sequential(norm, nn.Linear(encoder.out_features, width))


def _sum_present(logits: dict[Modality, torch.Tensor], present: Present) -> torch.Tensor:
    return torch.stack([own * present[name][:, None] for name, own in logits.items()]).sum(0)


def _scatter(rows: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    full = torch.zeros(len(present), *rows.shape[1:], dtype=rows.dtype, device=rows.device)
    full[present] = rows
    return full
