"""Image encoders: MONAI networks that hand over their last feature map as tokens.

A recipe of one slice (pictures) makes the same networks in two dimensions. An image smaller than a network can
take is padded at its far ends with the lowest value of its windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.optional import monai
from medmm.transforms.volume import VolumeRecipe
from medmm.types import Modality

_LOWEST = -1.0  # of every window


class _FeatureMap(nn.Module):
    """Mean and maximum over the map are joined before pooling: a finding may fill the image or one corner of it."""

    modality: Modality = "image"

    def __init__(self, recipe: VolumeRecipe, width: int) -> None:
        super().__init__()
        self.channels = len(recipe.windows)
        self.dims = 2 if recipe.shape[2] == 1 else 3
        self.out_features = width
        self.pool = nn.Linear(2 * width, width)

    def grid(self, image: torch.Tensor, multiple: int = 1, least: int = 1) -> torch.Tensor:
        """(B, C, R, A, S) as the network takes it: without S if flat, padded to at least `least` and a multiple of `multiple`."""
        image = image.squeeze(-1) if self.dims == 2 else image
        missing = [max(least, -(-size // multiple) * multiple) - size for size in image.shape[2:]]
        pads = [amount for size in reversed(missing) for amount in (0, size)]
        return nn.functional.pad(image, pads, value=_LOWEST) if any(pads) else image

    def whole(self, tokens: torch.Tensor) -> Encoded:
        """(B, T, D) tokens with their summary."""
        pooled = self.pool(torch.cat([tokens.mean(1), tokens.amax(1)], dim=1))
        return Encoded(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), pooled)


class ResNet(_FeatureMap):
    """A narrow MONAI ResNet whose last map becomes tokens.

    Args:
        recipe: Of the images.
        widths: Channels of the four stages.
        blocks: Residual blocks of the four stages.
        stem: Kernel size of the first convolution, which halves the grid as the pooling after it does.
    """

    def __init__(
        self,
        recipe: VolumeRecipe,
        *,
        widths: Sequence[int] = (16, 32, 64, 128),
        blocks: Sequence[int] = (1, 1, 1, 1),
        stem: int = 3,
    ) -> None:
        super().__init__(recipe, widths[-1])
        self.net = monai("networks.nets").ResNet(
            "basic", list(blocks), list(widths), spatial_dims=self.dims, n_input_channels=self.channels,
            conv1_t_size=stem, conv1_t_stride=2, feed_forward=False,
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> Encoded:
        """Encode (B, C, R, A, S) to tokens of the last map."""
        net = self.net
        net.train(self.training and len(image) > 1)  # one sample has no batch statistics
        x = net.maxpool(net.act(net.bn1(net.conv1(self.grid(image)))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return self.whole(x.flatten(2).transpose(1, 2))


class DenseNet(_FeatureMap):
    """MONAI's DenseNet (Huang et al. 2017), by default DenseNet-121.

    Args:
        recipe: Of the images.
        features: Channels of the stem.
        growth: Channels that each layer adds.
        blocks: Layers of each dense block.
        dropout: After each layer.
    """

    def __init__(
        self,
        recipe: VolumeRecipe,
        *,
        features: int = 64,
        growth: int = 32,
        blocks: Sequence[int] = (6, 12, 24, 16),
        dropout: float = 0.0,
    ) -> None:
        width = features
        for layers in blocks[:-1]:
            width = (width + layers * growth) // 2  # what a transition keeps
        super().__init__(recipe, width + blocks[-1] * growth)
        net = monai("networks.nets").DenseNet(self.dims, self.channels, 1, features, growth, blocks, dropout_prob=dropout)
        self.net = net.features
        self.least = 4 << (len(blocks) - 1)  # the stem quarters the grid, every transition halves it

    def forward(self, image: torch.Tensor) -> Encoded:
        """Encode (B, C, R, A, S) to tokens of the last map."""
        self.net.train(self.training and len(image) > 1)  # one sample has no batch statistics
        x = torch.relu(self.net(self.grid(image, least=self.least)))
        return self.whole(x.flatten(2).transpose(1, 2))


class ViT(_FeatureMap):
    """MONAI's vision transformer (Dosovitskiy et al. 2021) over patches of the recipe's grid.

    Args:
        recipe: Of the images; their shape is padded to whole patches.
        patch: Voxels along each axis of a patch.
        width, depth, heads: Size.
        dropout: Within.
    """

    recomputable = "net.blocks"

    def __init__(
        self, recipe: VolumeRecipe, *, patch: int = 8, width: int = 128, depth: int = 4, heads: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__(recipe, width)
        self.patch = patch
        shape = [-(-size // patch) * patch for size in recipe.shape[: self.dims]]
        self.net = monai("networks.nets").ViT(
            self.channels, shape, patch, hidden_size=width, mlp_dim=4 * width, num_layers=depth, num_heads=heads,
            dropout_rate=dropout, spatial_dims=self.dims,
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> Encoded:
        """Encode (B, C, R, A, S) to one token a patch.

        Raises:
            ValueError: If the image has another number of patches than the recipe.
        """
        x = self.grid(image, multiple=self.patch)
        known, patches = self.net.patch_embedding.n_patches, x[0, 0].numel() // self.patch**self.dims
        if patches != known:
            msg = f"Expected images of {known} patches, as in the recipe; got {patches}. Resample them with the model's recipe."
            raise ValueError(msg)
        tokens, _ = self.net(x)
        return self.whole(tokens)


class Swin(_FeatureMap):
    """MONAI's Swin transformer (Liu et al. 2021; the encoder of Swin UNETR), its deepest map as tokens.

    Args:
        recipe: Of the images, of any shape.
        width: Channels of the first stage; each of the four merges doubles them.
        depths: Blocks of the four stages.
        heads: Attention heads of the four stages.
        window: Tokens along each axis of an attention window.
        patch: Voxels along each axis of a patch.
        dropout: Within.
    """

    def __init__(
        self,
        recipe: VolumeRecipe,
        *,
        width: int = 12,
        depths: Sequence[int] = (1, 1, 1, 1),
        heads: Sequence[int] = (1, 2, 4, 8),
        window: int = 4,
        patch: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(recipe, width << len(depths))
        self.net = monai("networks.nets.swin_unetr").SwinTransformer(
            self.channels, width, [window] * self.dims, [patch] * self.dims, list(depths), list(heads),
            drop_rate=dropout, spatial_dims=self.dims,
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> Encoded:
        """Encode (B, C, R, A, S) to tokens of the deepest map."""
        return self.whole(self.net(self.grid(image))[-1].flatten(2).transpose(1, 2))


class SliceAttention(nn.Module):
    """A 2-D network on every axial slice and its neighbours, and attention over slices (Ilse et al. 2018): 2.5-D.

    Args:
        recipe: Of the images.
        neighbours: Slices on either side that are shown with each one, as channels; the outermost are repeated.
        widths, blocks, stem: Of the 2-D ResNet.
    """

    modality: Modality = "image"

    def __init__(
        self,
        recipe: VolumeRecipe,
        *,
        neighbours: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128),
        blocks: Sequence[int] = (1, 1, 1, 1),
        stem: int = 3,
    ) -> None:
        super().__init__()
        r, a, _ = recipe.shape
        shown = VolumeRecipe((r, a, 1), recipe.spacing, recipe.windows * (2 * neighbours + 1))
        self.neighbours = neighbours
        self.slice = ResNet(shown, widths=widths, blocks=blocks, stem=stem)
        self.out_features = width = self.slice.out_features
        self.score = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, image: torch.Tensor) -> Encoded:
        """Encode (B, C, R, A, S) to one token a slice."""
        count, slices = len(image), image.shape[-1]
        near = torch.arange(-self.neighbours, self.neighbours + 1, device=image.device)[:, None]
        places = (near + torch.arange(slices, device=image.device)).clamp(0, slices - 1)
        shown = image[..., places].permute(0, 5, 4, 1, 2, 3).flatten(2, 3).flatten(0, 1)
        tokens = self.slice(shown[..., None]).pooled.view(count, slices, -1)
        weights = self.score(tokens).softmax(1)
        mask = torch.ones(count, slices, dtype=torch.bool, device=image.device)
        return Encoded(tokens, mask, (weights * tokens).sum(1))
