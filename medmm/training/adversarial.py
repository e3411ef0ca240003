"""Studies changed a little in the direction that harms a model most, on the image and on the embeddings of words.

FGSM takes one step along the sign of the gradient (Goodfellow et al. 2015), PGD several smaller ones from a random start,
each brought back to the allowed distance (Madry et al. 2018). Words cannot be changed a little, their embeddings can: along
the gradient, within a ball (Miyato et al. 2017), whose radius is a share of the length of the note's own embeddings, so that
a model cannot escape it by growing them. PGD begins anywhere in that ball.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field
from torch import nn

from medmm.model import Classifier, MultimodalClassifier
from medmm.transforms.augment.choice import Amount, Share
from medmm.transforms.batch import Sample


@dataclass(frozen=True, slots=True)
class Attack:
    """How far and how a study may be changed.

    Attributes:
        method: `fgsm` or `pgd`; None leaves adversarial training out.
        image: Largest change of a voxel, in the unit of the image, HU in CT; 0 leaves images alone.
        text: Length of the change of a note's word embeddings, as a share of their own; 0 leaves notes alone.
        steps: Of `pgd`.
        weight: Of the loss of changed studies, beside that of studies as they are.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    method: Literal["fgsm", "pgd"] | None = None
    image: Amount = 8.0
    text: Amount = 0.1
    steps: Annotated[int, Field(ge=1)] = 3
    weight: Share = 0.5


def attacked(
    model: Classifier, samples: Sequence[Sample], loss_of: Callable[[Sequence[Sample]], torch.Tensor], attack: Attack
) -> tuple[list[Sample], dict[int, torch.Tensor]]:
    """The samples changed so that a loss rises, and what to add to their word embeddings (see `words_moved_by`).

    Args:
        model: What computes the loss; gradients of its weights are left alone.
        samples: With or without images and notes.
        loss_of: Scalar loss of samples.
        attack: How.
    """
    steps = attack.steps if attack.method == "pgd" else 1
    pace = 1.0 if steps == 1 else 2.5 / steps  # enough to reach the border from anywhere (Madry et al. 2018)
    start = 1.0 if attack.method == "pgd" else 0.0
    deltas = [attack.image * start * (2 * torch.rand_like(image) - 1) for image in _images(samples)]
    first = partial(_anywhere, reach=attack.text) if start and attack.text else torch.zeros_like
    with _as_in_use(model), words_moved_by(model, {}, first) as words:
        for _ in range(steps):
            moved = [delta.requires_grad_() for delta in deltas]
            loss = loss_of(_with_images(samples, moved))
            gradients = torch.autograd.grad(loss, [*moved, *words.shift.values()], allow_unused=True)
            of_images, of_words = gradients[: len(moved)], dict(zip(words.shift, gradients[len(moved) :], strict=True))
            deltas = [_stepped(d.detach(), g, attack.image, pace) for d, g in zip(deltas, of_images, strict=True)]
            words.shift = {n: _turned(s, words.seen[n], of_words[n], attack.text, pace) for n, s in words.shift.items()}
    return _with_images(samples, deltas), {n: shift.detach() for n, shift in words.shift.items()}


@dataclass
class Words:
    """What is added to word embeddings, and the embeddings seen last, 0 where notes are padded; by number of the network."""

    shift: dict[int, torch.Tensor]
    seen: dict[int, torch.Tensor] = field(default_factory=dict)


@contextmanager
def words_moved_by(
    model: Classifier, shift: Mapping[int, torch.Tensor], first: Callable[[torch.Tensor], torch.Tensor] = torch.zeros_like
) -> Iterator[Words]:
    """Add (notes, T, D) to the word embeddings of every batch inside the block, in the order of the samples that have a note.

    Args:
        model: Whose words; each of its networks has embeddings of its own.
        shift: What to add, by number of the network; where that is not there, what `first` makes of the embeddings seen first.
        first: Gives something of their shape.
    """
    words = Words(dict(shift))
    with ExitStack() as stack:
        for number, network in enumerate(model.networks):
            stack.enter_context(_moved(network, number, words, first))
        yield words


@contextmanager
def _moved(
    network: MultimodalClassifier, number: int, words: Words, first: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    awaited: torch.Tensor | None = None

    def begin(_module: nn.Module, inputs: Any) -> None:
        nonlocal awaited
        *_, awaited = inputs  # the mask of real tokens

    def move(_module: nn.Module, _inputs: Any, embedded: torch.Tensor) -> torch.Tensor:
        nonlocal awaited
        if awaited is None:
            return embedded  # of what an encoder adds itself: Longformer fills up whole windows
        real, awaited = awaited[..., None].to(embedded.dtype), None
        words.seen[number] = embedded.detach() * real
        if number not in words.shift:
            words.shift[number] = first(words.seen[number]).requires_grad_()
        return embedded + words.shift[number] * real

    encoder = network.encoders["text"] if "text" in network.encoders else nn.Module()
    table = next((m for m in encoder.modules() if isinstance(m, nn.Embedding)), None)
    hooks = [encoder.register_forward_pre_hook(begin), *([table.register_forward_hook(move)] if table is not None else [])]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _as_in_use(model: Classifier) -> Iterator[None]:
    """No dropout and no new batch statistics inside the block; cuDNN cannot go back through recurrent layers like this."""
    training = model.training
    model.eval()
    try:
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        model.train(training)


def _images(samples: Sequence[Sample]) -> list[torch.Tensor]:
    return [sample.inputs["image"][0] for sample in samples if "image" in sample.inputs]


def _with_images(samples: Sequence[Sample], deltas: Sequence[torch.Tensor]) -> list[Sample]:
    left = iter(deltas)
    return [s.having("image", s.inputs["image"][0] + next(left)) if "image" in s.inputs else s for s in samples]


def _stepped(delta: torch.Tensor, gradient: torch.Tensor | None, reach: float, pace: float) -> torch.Tensor:
    """A step along the sign, brought back to the allowed distance."""
    return delta if gradient is None else (delta + pace * reach * gradient.sign()).clamp(-reach, reach)


def _anywhere(embedded: torch.Tensor, reach: float) -> torch.Tensor:
    """A point drawn evenly from each note's ball."""
    real = embedded.any(2, keepdim=True)
    drawn, numbers = torch.randn_like(embedded) * real, real.sum((1, 2), keepdim=True) * embedded.shape[2]
    share = torch.rand(len(embedded), 1, 1, device=embedded.device) ** (1 / numbers)
    return drawn * share * reach * _length(embedded) / _length(drawn)


def _turned(shift: torch.Tensor, embedded: torch.Tensor, gradient: torch.Tensor | None, reach: float, pace: float) -> torch.Tensor:
    """A step along the gradient, brought back into each note's ball."""
    if gradient is None:
        return shift.detach().requires_grad_()
    radius = reach * _length(embedded)
    moved = shift.detach() + pace * radius * gradient / _length(gradient).clamp_min(1e-12)
    return (moved * (radius / _length(moved).clamp_min(1e-12)).clamp_max(1.0)).requires_grad_()


def _length(rows: torch.Tensor) -> torch.Tensor:
    length: torch.Tensor = rows.flatten(1).square().sum(1).sqrt()
    return length[:, None, None]
