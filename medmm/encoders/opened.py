"""Open CT encoders: the input their published weights were trained on, stated once, and their networks.

What an encoder was trained on decides what it sees: another orientation, spacing or window gives features
that look right and mean nothing. Each contract is held by the tests against a marked phantom.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.errors import TaskError
from medmm.optional import monai
from medmm.transforms.volume import VolumeRecipe
from medmm.types import Modality
from medmm.weights import refuse_not_finite

_WIDE = ((-1000.0, 1000.0),)


@dataclass(frozen=True, slots=True)
class Published:
    """A repository of the Hub.

    Attributes:
        repo: USER/NAME.
        licence: Of what is taken from it, and terms that are agreed to on its page.
        files: What is taken; a name that begins with a dot stands for all that end so.
        kind: Of the repository.
        revision: The one known to belong to this contract, None when none was published.
    """

    repo: str
    licence: str
    files: tuple[str, ...]
    kind: Literal["model", "dataset"] = "model"
    revision: str | None = None

    @property
    def page(self) -> str:
        """Address for people."""
        return f"https://huggingface.co/{'datasets/' if self.kind == 'dataset' else ''}{self.repo}"


@dataclass(frozen=True, slots=True)
class Contract:
    """What published weights expect, and what is known of them here.

    Attributes:
        name: Of the encoder.
        recipe: Grid and window; the axes of a recipe are R, A, S.
        axes: Where the axes of the network's tensor point, e.g. `SLP`.
        scale: Values of the lowest and the highest end of the window.
        weights: Where they are published; they are never shipped here.
        text: Where configuration and tokenizer of its text encoder are.
        passed_on: Licence of what is trained from them, as a model card's header names it.
        verified: What was tried, in words.
    """

    name: str
    recipe: VolumeRecipe
    axes: str
    scale: tuple[float, float]
    weights: Published
    text: Published
    passed_on: str
    verified: str

    def arrange(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, R, A, S) of -1..1, as `VolumeRecipe.stack` makes it, to what the network takes: axes and scale."""
        places, flips = _turned(self.axes)
        low, high = self.scale
        turned = image.permute(0, 1, *(2 + place for place in places)).flip([2 + i for i, flip in enumerate(flips) if flip])
        return (turned + 1) * ((high - low) / 2) + low

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        recipe = self.recipe
        return {
            "name": self.name, "shape_ras": list(recipe.shape), "spacing_ras_mm": list(recipe.spacing),
            "window_hu": list(recipe.windows[0]), "beyond": recipe.beyond, "axes": self.axes, "scale": list(self.scale),
            "weights": asdict(self.weights), "text": asdict(self.text), "verified": self.verified,
        }  # fmt: skip


_VERIFIED = (
    "Its input, on a marked phantom; its image and text networks, on random weights of the names and shapes that its public "
    "code gives them. Nothing was tried with the real weights."
)

_TOKENIZER = (".json", ".txt")
_CXR_BERT = Published(
    "microsoft/BiomedVLP-CXR-BERT-specialized", "MIT", _TOKENIZER, revision="5157bdba1437a3aed316dacb1a5b68edf96b9902"
)
CONTRACTS: Mapping[str, Contract] = {
    contract.name: contract
    for contract in (
        Contract(
            "merlin", VolumeRecipe((224, 224, 160), (1.5, 1.5, 3.0), _WIDE, antialias=False), "SRA", (0.0, 1.0),
            Published(
                "stanfordmimi/Merlin", "MIT for the code; for the weights see their page",
                ("i3_resnet_clinical_longformer_best_clip_04-02-2024_23-21-36_epoch_99.pt",),
            ),
            Published("yikuan8/Clinical-Longformer", "see its page", _TOKENIZER), "other", _VERIFIED,
        ),
        Contract(
            "ct_clip", VolumeRecipe((480, 480, 240), (0.75, 0.75, 1.5), _WIDE, antialias=False), "SLP", (-1.0, 1.0),
            Published("ibrahimhamamci/CT-RATE", "CC BY-NC-SA 4.0", ("models/CT-CLIP-Related/CT-CLIP_v2.pt",), "dataset"),
            _CXR_BERT, "cc-by-nc-sa-4.0", _VERIFIED,
        ),
        Contract(
            "colipri", VolumeRecipe((192, 192, 192), (2.0, 2.0, 2.0), _WIDE, antialias=False, beyond="least"), "RAS", (-1.0, 1.0),
            Published("microsoft/colipri", "MIT, weights included", ("model.safetensors",)), _CXR_BERT, "apache-2.0", _VERIFIED,
        ),
    )
}  # fmt: skip
"""By name."""


class OpenedImage(nn.Module):
    """An image encoder with published weights.

    Attributes:
        contract: Of the weights.
        others: How names of their tensors begin that are of other parts.
    """

    modality: Modality = "image"
    contract: Contract
    others: tuple[str, ...]

    @property
    def published(self) -> nn.Module:
        """What the weights fill."""
        return self

    def own_name(self, name: str) -> str:
        """Of a tensor here, by its published one."""
        return name

    def load_pretrained(self, source: str) -> None:
        """Take the published weights, whole or of the image side alone; nothing but tensors is unpickled.

        Args:
            source: File ending in .pt or .safetensors.

        Raises:
            TaskError: If it cannot be read, or its image side is not exactly this network.
        """
        self.take(read_state(source))

    def take(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take the image side of published weights that were read.

        Raises:
            TaskError: If it is not exactly this network.
        """
        named = {self.own_name(name): tensor for name, tensor in state.items()}
        fill(self.published, named, self.contract.name, others=self.others)


class Merlin(OpenedImage):
    """The image encoder of Merlin (Blankemeier et al. 2024): a ResNet-152 inflated to three dimensions.

    Args:
        recipe: Must be the contract's.
        blocks: Bottlenecks of the four stages; the published weights have the default.

    Raises:
        TaskError: If the recipe is another.
    """

    contract = CONTRACTS["merlin"]
    others = ("classifier.", "contrastive_head.", "encode_text.", "logit_scale")
    out_features = 2048

    def __init__(self, recipe: VolumeRecipe, *, blocks: tuple[int, int, int, int] = (3, 8, 36, 3)) -> None:
        super().__init__()
        require_recipe(recipe, self.contract)
        self.net = monai("networks.nets").ResNet(
            "bottleneck", list(blocks), [64, 128, 256, 512], spatial_dims=3, n_input_channels=3, conv1_t_size=(3, 7, 7),
            conv1_t_stride=(1, 2, 2), feed_forward=False, bias_downsample=False,
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> Encoded:
        """Encode (B, 1, R, A, S) to the last map as tokens and their mean, which is Merlin's image embedding."""
        net = self.net
        net.train(self.training and len(image) > 1)  # one sample has no batch statistics
        x = self.contract.arrange(image).expand(-1, 3, -1, -1, -1)
        x = net.maxpool(net.act(net.bn1(net.conv1(x))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        tokens = x.flatten(2).transpose(1, 2)
        return Encoded(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), tokens.mean(1))

    @property
    def published(self) -> nn.Module:
        """What the weights fill."""
        net: nn.Module = self.net
        return net

    def own_name(self, name: str) -> str:
        """Of a tensor here, by its published one."""
        return name.removeprefix("module.").removeprefix("encode_image.").removeprefix("i3_resnet.")


def require_recipe(recipe: VolumeRecipe, contract: Contract) -> None:
    """Refuse to build an encoder for another input than it was trained on.

    Raises:
        TaskError: If grid or window differ.
    """
    known = contract.recipe
    if (recipe.shape, recipe.spacing, recipe.windows) != (known.shape, known.spacing, known.windows):
        msg = f"Expected the image recipe that {contract.name} was trained on; got another. Leave `voxels` and the recipe to it."
        raise TaskError(msg)


def fill(net: nn.Module, state: Mapping[str, torch.Tensor], whose: str, *, others: tuple[str, ...]) -> None:
    """Weights of a published file to a network that must be exactly theirs.

    Args:
        net: To fill.
        state: Tensors by name.
        whose: Published name of the weights, for the message.
        others: How names of tensors begin that are of other parts.

    Raises:
        TaskError: If a tensor is missing, of another shape, of no known part or not finite.
    """
    expected = net.state_dict()
    wrong = sorted(name for name, tensor in expected.items() if name not in state or state[name].shape != tensor.shape)
    unknown = sorted(name for name in state if name not in expected and not name.startswith(others))
    if wrong or unknown:
        told = (
            f"{len(wrong)} are missing or of another shape{', e.g. ' + wrong[0] if wrong else ''}, {len(unknown)} of no known part"
        )
        msg = f"Expected the weights of {whose} and nothing else; {told}."
        raise TaskError(msg)
    refuse_not_finite(state, expected, TaskError)
    net.load_state_dict({name: state[name] for name in expected})


def read_state(source: str) -> dict[str, torch.Tensor]:
    """Tensors of a file of weights; nothing else is unpickled.

    Raises:
        TaskError: If it cannot be read so.
    """
    try:
        if Path(source).suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(source)
        parts = zipfile.is_zipfile(source)  # then each tensor is read when it is used
        loaded = torch.load(source, map_location="cpu", weights_only=True, mmap=parts)
        return {name: tensor for name, tensor in loaded.items() if isinstance(tensor, torch.Tensor)}
    except Exception:  # foreign files: parsers throw anything
        msg = "Expected a file of weights ending in .pt or .safetensors; it could not be read as tensors alone."
        raise TaskError(msg) from None


def _turned(axes: str) -> tuple[list[int], list[bool]]:
    """For each axis of a tensor its place in R, A, S, and whether it runs the other way."""
    pairs: tuple[tuple[Literal["R", "A", "S"], str], ...] = (("R", "L"), ("A", "P"), ("S", "I"))
    places = [next(i for i, pair in enumerate(pairs) if axis in pair) for axis in axes]
    return places, [axis not in "RAS" for axis in axes]
