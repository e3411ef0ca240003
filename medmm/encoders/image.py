"""Image encoders: MONAI networks that hand over their last feature map as tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.transforms.volume import VolumeRecipe
from medmm.types import Modality


class ResNet(nn.Module):
    """A narrow 3-D MONAI ResNet whose last map becomes tokens.

    Mean and maximum over the map are joined before pooling, because a finding may fill the image
    or one corner of it.

    Args:
        recipe: Of the images.
        widths: Channels of the four stages.
        blocks: Residual blocks of the four stages.
        stem: Kernel size of the first convolution, which halves the grid as the pooling after it does.
    """

    modality: Modality = "image"

    def __init__(
        self,
        recipe: VolumeRecipe,
        *,
        widths: Sequence[int] = (16, 32, 64, 128),
        blocks: Sequence[int] = (1, 1, 1, 1),
        stem: int = 3,
    ) -> None:
        from monai.networks.nets import resnet

        super().__init__()
        self.out_features = widths[-1]
        self.net = resnet.ResNet(
            "basic", list(blocks), list(widths), spatial_dims=3, n_input_channels=len(recipe.windows),
            conv1_t_size=stem, conv1_t_stride=2, feed_forward=False,
        )  # fmt: skip
        self.pool = nn.Linear(2 * widths[-1], widths[-1])

    def forward(self, image: torch.Tensor) -> Encoded:
        """Encode (B, C, R, A, S) to tokens of the last map."""
        net = self.net
        net.train(self.training and len(image) > 1)  # one sample has no batch statistics
        x = net.maxpool(net.act(net.bn1(net.conv1(image))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        tokens = x.flatten(2).transpose(1, 2)
        pooled = self.pool(torch.cat([tokens.mean(1), tokens.amax(1)], dim=1))
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Encoded(tokens, mask, pooled)
