"""The image encoder of CT-CLIP (Hamamci et al. 2024): attention within each slab of a CT, then through the slabs.

Tensors are (B, T, H, W, D): slabs of ten slices from feet to head, patches of 20 x 20 pixels. Names of layers are
those of the published weights.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from medmm.encoders import Encoded
from medmm.encoders.opened import CONTRACTS, OpenedImage, require_recipe
from medmm.transforms.volume import VolumeRecipe

_SLAB, _PATCH = 10, 20
_STEEPNESS = 8.0  # of attention between unit queries and keys


class CtClip(OpenedImage):
    """CT-ViT and the projection of its tokens to the space that it shares with reports.

    Args:
        recipe: Must be the contract's.
        width: Channels, also of the embedding; the published weights have the default, as of all that follows.
        depth: Layers within slabs, and as many through them.
        heads: Of attention.
        head_width: Channels of a head.
        codes: Entries of the codebook that tokens are replaced from.

    Raises:
        TaskError: If the recipe is another.
    """

    contract = CONTRACTS["ct_clip"]
    others = ("text_transformer.", "to_text_latent.", "to_text_latent_extra.", "to_visual_latent_extra.", "temperature")

    def __init__(
        self, recipe: VolumeRecipe, *, width: int = 512, depth: int = 4, heads: int = 8, head_width: int = 32, codes: int = 8192
    ) -> None:
        super().__init__()
        require_recipe(recipe, self.contract)
        self.visual_transformer = _CtVit(width, depth, heads, head_width, codes)
        side = recipe.shape[0] // _PATCH
        self.to_visual_latent = nn.Linear(side * side * width, width, bias=False)
        self.out_features = width

    def forward(self, image: torch.Tensor) -> Encoded:
        """Encode (B, 1, R, A, S) to a token for each patch, averaged through the slabs, and CT-CLIP's image embedding."""
        tokens = self.visual_transformer(self.contract.arrange(image)[:, 0]).mean(1).flatten(1, 2)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Encoded(tokens, mask, self.to_visual_latent(tokens.flatten(1)))


class _CtVit(nn.Module):
    """Tokens of a volume, each replaced by the nearest entry of a codebook."""

    def __init__(self, width: int, depth: int, heads: int, head_width: int, codes: int) -> None:
        super().__init__()
        self.spatial_rel_pos_bias = _PositionBias(width, heads)
        self.to_patch_emb_first_frame = _patch_embedding(_PATCH * _PATCH, width)  # in the weights, never used
        self.to_patch_emb = _patch_embedding(_SLAB * _PATCH * _PATCH, width)
        self.enc_spatial_transformer = _Transformer(width, depth, heads, head_width)
        self.enc_temporal_transformer = _Transformer(width, depth, heads, head_width)
        self.vq = nn.ModuleDict({"_codebook": _Codebook(width, codes)})
        self.to_pixels_first_frame = nn.Sequential(nn.Linear(width, _PATCH * _PATCH))  # in the weights, never used
        self.to_pixels = nn.Sequential(nn.Linear(width, _SLAB * _PATCH * _PATCH))  # likewise

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """(B, S, L, P) to (B, T, H, W, D)."""
        b, s, h, w = volume.shape
        t, h, w = s // _SLAB, h // _PATCH, w // _PATCH
        cubes = volume.reshape(b, t, _SLAB, h, _PATCH, w, _PATCH).permute(0, 1, 3, 5, 2, 4, 6).flatten(4)
        x = self.to_patch_emb(cubes)
        shape = x.shape
        x = self.enc_spatial_transformer(x.flatten(2, 3).flatten(0, 1), shape, self.spatial_rel_pos_bias(h, w)).view(shape)
        x = x.permute(0, 2, 3, 1, 4).flatten(0, 2)
        x = self.enc_temporal_transformer(x, shape).view(b, h, w, t, -1).permute(0, 3, 1, 2, 4)
        found: torch.Tensor = self.vq["_codebook"](x)
        return found


def _patch_embedding(values: int, width: int) -> nn.Module:
    """Named as published, where the first of four parts has no weights."""
    return nn.Sequential(nn.Identity(), nn.LayerNorm(values), nn.Linear(values, width), nn.LayerNorm(width))


class _PositionBias(nn.Module):
    """What the distance of two patches in a slab adds to their attention (after Liu et al. 2022)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        hidden = (nn.Sequential(nn.Linear(inner, width), nn.LeakyReLU(0.1)) for inner in (2, width))
        self.net = nn.Sequential(*hidden, nn.Linear(width, heads))

    def forward(self, h: int, w: int) -> torch.Tensor:
        """(heads, H W, H W)."""
        device = next(self.parameters()).device
        place = torch.cartesian_prod(torch.arange(h, device=device), torch.arange(w, device=device)).float()
        away = place[:, None] - place
        bias: torch.Tensor = self.net(away.sign() * away.abs().log1p()).permute(2, 0, 1)
        return bias


class _Transformer(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict({"0": _Conv(width), "1": _Attention(width, heads, head_width), "3": _feed_forward(width)})
            for _ in range(depth)
        )
        self.norm_out = _Norm(width)

    def forward(self, x: torch.Tensor, shape: torch.Size, bias: torch.Tensor | None = None) -> torch.Tensor:
        """(N, M, D) sequences of a volume of `shape` (B, T, H, W, D)."""
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            x = x + layer["0"](x, shape)
            x = x + layer["1"](x, bias)
            x = x + layer["3"](x)
        normed: torch.Tensor = self.norm_out(x)
        return normed


class _Conv(nn.Module):
    """A depthwise convolution that sees neighbours, and of slabs only those before.

    It takes sequences through slabs for a volume in its usual order, which they are not in: so the weights were
    trained, so they must be used.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dsconv = nn.Conv3d(width, width, 3, groups=width)

    def forward(self, x: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        volume = functional.pad(x.reshape(shape).permute(0, 4, 1, 2, 3), (1, 1, 1, 1, 2, 0))
        y: torch.Tensor = self.dsconv(volume).permute(0, 2, 3, 4, 1).reshape(x.shape)
        return y


class _Norm(nn.Module):
    """Layer normalisation whose shift is stored but not trained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.beta: torch.Tensor
        self.register_buffer("beta", torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.gamma, self.beta)


class _Attention(nn.Module):
    """Attention of unit queries to unit keys; keys and values are taken before the normalisation."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.context_norm = _Norm(width), _Norm(width)  # the latter is in the weights, never used
        self.null_kv = nn.Parameter(torch.zeros(heads, 0, head_width))  # likewise
        self.to_q = nn.Linear(width, heads * head_width, bias=False)
        self.to_kv = nn.Linear(width, 2 * heads * head_width, bias=False)
        self.q_scale, self.k_scale = nn.Parameter(torch.ones(head_width)), nn.Parameter(torch.ones(head_width))
        self.to_out = nn.Linear(heads * head_width, width, bias=False)

    def forward(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        parts = (self.to_q(self.norm(x)), *self.to_kv(x).chunk(2, -1))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        q, k = functional.normalize(q, dim=-1) * self.q_scale, functional.normalize(k, dim=-1) * self.k_scale
        y = functional.scaled_dot_product_attention(q, k, v, bias, scale=_STEEPNESS)
        out: torch.Tensor = self.to_out(y.transpose(1, 2).flatten(2))
        return out


class _Gate(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = x.chunk(2, -1)
        return functional.gelu(gate) * value


def _feed_forward(width: int) -> nn.Module:
    inner = int(4 * (2 / 3) * width)
    narrow = nn.Linear(inner, width, bias=False)
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * inner, bias=False), _Gate(), nn.Identity(), narrow)


class _Codebook(nn.Module):
    """Each token becomes the entry of greatest cosine similarity; a gradient passes as if it had not."""

    def __init__(self, width: int, codes: int) -> None:
        super().__init__()
        self.embed: torch.Tensor
        self.register_buffer("initted", torch.ones(1))
        self.register_buffer("cluster_size", torch.zeros(1, codes))
        self.register_buffer("embed", functional.normalize(torch.randn(1, codes, width), dim=-1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        similarity = functional.normalize(x, dim=-1) @ functional.normalize(self.embed[0], dim=-1).T
        found = self.embed[0][similarity.argmax(-1)]
        return x + (found - x).detach() if x.requires_grad else found
