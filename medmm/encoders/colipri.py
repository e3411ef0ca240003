"""The image encoder of COLIPRI (Wald et al. 2026): a Primus transformer over patches of eight voxels, pooled by attention.

Names of layers are those of the published weights.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from medmm.encoders import Encoded
from medmm.encoders.opened import CONTRACTS, OpenedImage, require_recipe
from medmm.transforms.volume import VolumeRecipe

_PATCH = 8
_SLOWEST = 10_000.0  # wave length of the last band of positions, in patches over 2 pi
_IMAGE = "image_encoder."


class Colipri(OpenedImage):
    """Primus, the projection of its patches and the attention that pools them.

    Args:
        recipe: Must be the contract's.
        width: Channels of the transformer; the published weights have the default, as of all that follows.
        depth: Layers.
        heads: Of attention, also of the pooling.
        out: Channels of the embedding.

    Raises:
        TaskError: If the recipe is another.
    """

    contract = CONTRACTS["colipri"]
    others = ("text_encoder.", "softmax_temperature")

    def __init__(self, recipe: VolumeRecipe, *, width: int = 864, depth: int = 16, heads: int = 12, out: int = 768) -> None:
        super().__init__()
        require_recipe(recipe, self.contract)
        self.backbone = _Primus(width, depth, heads)
        self.projector = nn.Conv3d(width, out, 1)
        self.pooler = AttentionPool(out, heads)
        self.out_features = out

    def forward(self, image: torch.Tensor) -> Encoded:
        """Encode (B, 1, R, A, S) to a token for each patch and COLIPRI's image embedding."""
        tokens = self.projector(self.backbone(self.contract.arrange(image))).flatten(2).transpose(1, 2)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Encoded(tokens, mask, self.pooler(tokens, mask))

    def own_name(self, name: str) -> str:
        """Of a tensor here, by its published one."""
        return name.removeprefix(_IMAGE)


class AttentionPool(nn.Module):
    """The mean of the tokens asks all of them what to say.

    Args:
        width: Channels.
        heads: Of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)  # its own forward multiplies token by token

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, T, D) tokens, of which those in the (B, T) mask count, to (B, D)."""
        weight, heads = mask[..., None].to(tokens.dtype), self.attn.num_heads
        query = (tokens * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        into = zip(self.attn.in_proj_weight.chunk(3), self.attn.in_proj_bias.chunk(3), strict=True)
        parts = [functional.linear(each, *way) for each, way in zip((query, tokens, tokens), into, strict=True)]
        q, k, v = (part.reshape(*part.shape[:2], heads, -1).transpose(1, 2) for part in parts)
        pooled = functional.scaled_dot_product_attention(q, k, v, mask[:, None, None])
        out: torch.Tensor = self.attn.out_proj(pooled.transpose(1, 2).flatten(1))
        return out


class _Primus(nn.Module):
    """Primus (Wald et al. 2025) without its decoder: an EVA-02 transformer with rotary positions in three dimensions."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.head_width = width // heads
        self.down_projection = nn.ModuleDict({"proj": nn.Conv3d(1, width, _PATCH, _PATCH)})
        blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.eva = nn.ModuleDict({"blocks": blocks, "norm": nn.LayerNorm(width)})
        self.mask_token: torch.Tensor
        self.register_buffer("mask_token", torch.zeros(1, 1, width))  # of its own pretraining

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, X, Y, Z) to (B, D, X / 8, Y / 8, Z / 8)."""
        patches = self.down_projection["proj"](image)
        x, turn = patches.flatten(2).transpose(1, 2), rotary(patches.shape[2:], self.head_width, image.device)
        blocks = self.eva["blocks"]
        assert isinstance(blocks, nn.ModuleList)
        for block in blocks:
            x = block(x, turn)
        y: torch.Tensor = self.eva["norm"](x).transpose(1, 2).unflatten(2, patches.shape[2:])
        return y


def rotary(shape: torch.Size, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(patches, width) sine and cosine by which queries and keys are turned, a third of the channels for each axis."""
    bands = _SLOWEST ** -(torch.arange(width // 6, device=device) / (width // 6))
    place = torch.cartesian_prod(*(torch.arange(n, device=device) for n in shape)).float()
    angle = (place[:, :, None] * bands).flatten(1).repeat_interleave(2, 1)
    return angle.sin(), angle.cos()


def _turned(x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Each pair of neighbouring channels turned by its angle."""
    across = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * turn[1] + across * turn[0]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), _Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width), _Mlp(width, int(width * 4 * 2 / 3))
        self.gamma_1, self.gamma_2 = (nn.Parameter(torch.full((width,), 0.1)) for _ in range(2))

    def forward(self, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x = x + self.gamma_1 * self.attn(self.norm1(x), turn)
        y: torch.Tensor = x + self.gamma_2 * self.mlp(self.norm2(x))
        return y


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Linear(width, width),
            nn.Linear(width, width, bias=False),
            nn.Linear(width, width),
        )
        self.norm, self.proj = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        parts = (project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for project in (self.q_proj, self.k_proj, self.v_proj))
        q, k, v = parts
        y = functional.scaled_dot_product_attention(_turned(q, turn), _turned(k, turn), v)
        out: torch.Tensor = self.proj(self.norm(y.transpose(1, 2).flatten(2)))
        return out


class _Mlp(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1_g, self.fc1_x = nn.Linear(width, inner), nn.Linear(width, inner)
        self.norm, self.fc2 = nn.LayerNorm(inner), nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fc2(self.norm(functional.silu(self.fc1_g(x)) * self.fc1_x(x)))
        return y
