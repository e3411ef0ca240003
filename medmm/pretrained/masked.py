"""Learning by filling in what is hidden: patches of an image, words and numbers of a note."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from medmm.encoders.volumes import own_encoder
from medmm.pretrained.config import PretrainedConfig
from medmm.transforms.batch import Batch
from medmm.types import Modality

_WIDTH = 64  # of the decoder, small so that the encoder does the work (He et al. 2022)
_HEADS = 4
_LOWEST = -1.0  # of every window
_SHOWN_HIDDEN, _SHOWN_OTHER = 0.8, 0.9  # of hidden words 80 % are shown as the mask, 10 % as another word, 10 % as they are


class MaskedImage(nn.Module):
    """Masked image modelling with any image encoder (SimMIM, Xie et al. 2022).

    Patches of the network's input are replaced by one learned value a channel; a small decoder says from the tokens
    what was there. It asks by place: one query a patch attends to all tokens, each known by its number, so that it
    needs not know how an encoder lays its tokens out.

    Args:
        config: Recipe of the images, share of hidden patches and their size.
        encoders: By modality.
    """

    reads: tuple[Modality, ...] = ("image",)

    def __init__(self, config: PretrainedConfig, encoders: Any) -> None:
        super().__init__()
        assert config.image is not None
        recipe, side = config.image.recipe, config.mask_patch
        self.share = config.image_masked
        self.patch = (side, side, min(side, recipe.shape[2]))
        self.grid = tuple(-(-size // p) for size, p in zip(recipe.shape, self.patch, strict=True))
        patches, channels = self.grid[0] * self.grid[1] * self.grid[2], len(recipe.windows)
        self.hidden = max(1, round(self.share * patches))
        self.fill = nn.Parameter(torch.zeros(channels))
        encoder = own_encoder(encoders["image"])
        self.narrow = nn.Linear(encoder.out_features, _WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(_tokens_of(encoder, (1, channels, *recipe.shape)), _WIDTH))
        self.queries = nn.Parameter(0.02 * torch.randn(patches, _WIDTH))
        self.attend = nn.MultiheadAttention(_WIDTH, _HEADS, batch_first=True)
        self.norms = nn.ModuleList([nn.LayerNorm(_WIDTH) for _ in range(3)])
        self.mlp = nn.Sequential(nn.Linear(_WIDTH, 2 * _WIDTH), nn.GELU(), nn.Linear(2 * _WIDTH, _WIDTH))
        self.paint = nn.Linear(_WIDTH, channels * self.patch[0] * self.patch[1] * self.patch[2])

    def forward(self, encoders: Any, batch: Batch) -> torch.Tensor | None:
        """Mean absolute error on hidden voxels, in units of half a window."""
        images = _images_of(batch)
        if images is None:
            return None
        hidden = self.choose(len(images), images.device)
        tokens = own_encoder(encoders["image"])(self.conceal(images, hidden)).tokens
        error = (self.decode(tokens) - self.patches_of(images)).abs()
        return error[hidden].mean()

    def choose(self, count: int, device: torch.device) -> torch.Tensor:
        """(count, patches) bool, True on as many random patches of each image as are to be hidden."""
        order = torch.rand(count, len(self.queries), device=device).argsort(1).argsort(1)
        return order < self.hidden

    def conceal(self, images: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """(N, C, R, A, S) images without their hidden patches."""
        veil = hidden.view(-1, 1, *self.grid)
        for axis, (p, size) in enumerate(zip(self.patch, images.shape[2:], strict=True), start=2):
            veil = veil.repeat_interleave(p, axis).narrow(axis, 0, size)
        return torch.where(veil, self.fill.view(1, -1, 1, 1, 1).to(images.dtype), images)

    def patches_of(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, R, A, S) images to (N, patches, voxels of a patch in all channels)."""
        (a, b, c), (i, j, k) = self.patch, self.grid
        missing = [n * p - size for n, p, size in zip(self.grid, self.patch, images.shape[2:], strict=True)]
        whole = functional.pad(images, (0, missing[2], 0, missing[1], 0, missing[0]), value=_LOWEST)
        cubes = whole.view(len(images), -1, i, a, j, b, k, c).permute(0, 2, 4, 6, 1, 3, 5, 7)
        return cubes.flatten(1, 3).flatten(2)

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """(N, T, D) tokens to (N, patches, voxels) as `patches_of` gives them."""
        known = self.norms[0](self.narrow(tokens) + self.places)
        asked = self.queries.expand(len(tokens), -1, -1)
        heard = asked + self.attend(self.norms[1](asked), known, known, need_weights=False)[0]
        return cast("torch.Tensor", self.paint(heard + self.mlp(self.norms[2](heard))))


class MaskedLanguage(nn.Module):
    """Masked language modelling (Devlin et al. 2019) with any text encoder; of a hidden number its size is asked as well.

    Words are told from a layer and a norm of their own, as published. Told from the tokens themselves, these grew with
    every epoch until what notes share drowned what tells them apart, and training that began there stayed at chance.

    Args:
        config: Recipe of the notes, share of hidden tokens, id shown instead.
        encoders: By modality.
    """

    reads: tuple[Modality, ...] = ("text",)

    def __init__(self, config: PretrainedConfig, encoders: Any) -> None:
        super().__init__()
        assert config.text is not None
        assert config.hidden_id is not None
        self.share, self.hidden_id = config.text_masked, config.hidden_id
        width = encoders["text"].out_features
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.words = nn.Linear(width, config.text.recipe.vocabulary)
        self.number = nn.Linear(width, 1)

    def forward(self, encoders: Any, batch: Batch) -> torch.Tensor | None:
        """Cross-entropy of hidden tokens, and the error of hidden numbers on a log scale."""
        present = batch.present.get("text")
        if present is None or not bool(present.any()):
            return None
        ids, values, is_number, mask = (tensor[present] for tensor in batch.inputs["text"])
        hidden = self.choose(mask)
        if not bool(hidden.any()):
            return None
        tokens = self.transform(encoders["text"](*self.conceal(ids, values, is_number, hidden), mask).tokens[hidden])
        loss = functional.cross_entropy(self.words(tokens).float(), ids[hidden])
        counted = is_number[hidden]
        if bool(counted.any()):
            said, true = self.number(tokens[counted])[:, 0].float(), values[hidden][counted]
            loss = loss + functional.smooth_l1_loss(said, true.sign() * true.abs().log1p())
        return loss

    def choose(self, mask: torch.Tensor) -> torch.Tensor:
        """(B, T) bool, True on random real tokens but the first and last, which mark the ends."""
        last = mask.sum(1, keepdim=True) - 1
        place = torch.arange(mask.shape[1], device=mask.device)
        inner = (place > 0) & (place < last)
        return inner & (torch.rand(mask.shape, device=mask.device) < self.share)

    def conceal(
        self, ids: torch.Tensor, values: torch.Tensor, is_number: torch.Tensor, hidden: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids, values and `is_number` as shown to the encoder."""
        fate = torch.rand(ids.shape, device=ids.device)
        covered, swapped = hidden & (fate < _SHOWN_HIDDEN), hidden & (fate >= _SHOWN_HIDDEN) & (fate < _SHOWN_OTHER)
        others = torch.randint_like(ids, self.words.out_features)
        shown = torch.where(swapped, others, ids.masked_fill(covered, self.hidden_id))
        gone = covered | swapped
        return shown, values.masked_fill(gone, 0.0), is_number & ~gone


def _images_of(batch: Batch) -> torch.Tensor | None:
    """(N, C, R, A, S) every image of the studies of a batch, None when there is none."""
    present = batch.present.get("image")
    if present is None or not bool(present.any()):
        return None
    images, *masks = (tensor[present] for tensor in batch.inputs["image"])
    return images[masks[0]] if masks else images


@torch.no_grad()
def _tokens_of(encoder: Any, shape: tuple[int, ...]) -> int:
    """How many tokens an encoder makes of an input of this shape."""
    training = encoder.training
    count = int(encoder.eval()(torch.full(shape, _LOWEST)).tokens.shape[1])
    encoder.train(training)
    return count
