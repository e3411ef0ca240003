"""An image encoder for processors: patches at the door, then few dense convolutions, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.transforms.volume import VolumeRecipe
from medmm.types import Modality

_LOWEST = -1.0  # of every window


class _Block(nn.Module):
    """A residual dense 3 x 3 x 3 convolution, a norm over channels and an MLP: ConvNeXt (Liu et al. 2022), but dense.

    A dense convolution is one large matrix product, which processors with matrix units do best; a depthwise one is not.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, R, A, S, C) to the same."""
        near = self.near(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return cast("torch.Tensor", x + self.narrow(nn.functional.gelu(self.widen(self.norm(near)))))


class _Patches(nn.Module):
    """Cubes of `side` voxels to vectors by one matrix product."""

    def __init__(self, channels: int, width: int, side: tuple[int, int, int]) -> None:
        super().__init__()
        self.side = side
        self.project = nn.Linear(channels * side[0] * side[1] * side[2], width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, R, A, S, C) to (B, R', A', S', width); axes must be whole numbers of cubes."""
        count, *shape, channels = x.shape
        i, j, k = (size // side for size, side in zip(shape, self.side, strict=True))
        a, b, c = self.side
        cubes = x.reshape(count, i, a, j, b, k, c, channels).permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)
        return cast("torch.Tensor", self.norm(self.project(cubes)))


class PatchConv(nn.Module):
    """Non-overlapping patches, then stages of dense convolutions on ever coarser grids.

    Everything is a matrix product or a fused norm over the last axis, so that bf16 pays; nothing keeps statistics
    of a batch.

    Args:
        recipe: Of the images, of any shape: they are padded to whole patches with the lowest value.
        patch: Voxels along each axis of a patch.
        widths: Channels of the stages; each after the first halves the grid.
        depth: Blocks of each stage.
    """

    modality: Modality = "image"
    recomputable = "layers"

    def __init__(self, recipe: VolumeRecipe, *, patch: int = 4, widths: Sequence[int] = (48, 96, 192), depth: int = 1) -> None:
        super().__init__()
        flat = recipe.shape[2] == 1
        self.out_features = widths[-1]
        self.whole = [patch << (len(widths) - 1)] * 2 + [1 if flat else patch << (len(widths) - 1)]
        sides = [patch] + [2] * (len(widths) - 1)
        layers: list[nn.Module] = []
        for before, width, side in zip([len(recipe.windows), *widths], widths, sides, strict=False):
            layers.append(_Patches(before, width, (side, side, 1 if flat else side)))
            layers += [_Block(width) for _ in range(depth)]
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(widths[-1])
        self.pool = nn.Linear(2 * widths[-1], widths[-1])

    def forward(self, image: torch.Tensor) -> Encoded:
        """Encode (B, C, R, A, S) to tokens of the coarsest grid."""
        missing = [-size % whole for size, whole in zip(image.shape[2:], self.whole, strict=True)]
        if any(missing):
            r, a, s = missing
            image = nn.functional.pad(image, (0, s, 0, a, 0, r), value=_LOWEST)
        tokens = self.norm(self.layers(image.permute(0, 2, 3, 4, 1))).flatten(1, 3)
        pooled = self.pool(torch.cat([tokens.mean(1), tokens.amax(1)], dim=1))
        return Encoded(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), pooled)
