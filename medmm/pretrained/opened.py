"""Published weights of image and text together, made a pretrained folder: zero-shot, few-shot, retrieval, a start for training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

import medmm
from medmm.disk import appearing, sha256_of
from medmm.encoders.opened import CONTRACTS, read_state
from medmm.errors import TaskError
from medmm.model import Side
from medmm.pretrained.config import PretrainedConfig
from medmm.pretrained.folder import save_pretrained
from medmm.pretrained.network import OPENED, PretrainedNetwork
from medmm.table import write_csv
from medmm.transforms.batch import Preprocessor
from medmm.transforms.text import NoteTokenizer, Wording
from medmm.types import Modality
from medmm.weights import refuse_not_finite

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a file of published weights has what belongs to texts and to the common space.

    Attributes:
        text: How names of the text encoder begin.
        family: Of the text encoder, as `transformers` calls it.
        wording: Of its notes.
        max_tokens: Longest note.
        width: Channels of the common space.
        factor: Name of what similarities are multiplied with, and how it is written.
        project: Linear layers into the common space, by modality, and whether they have a bias; without one the encoder
            itself leads there.
        pooler: How names of the text encoder's pooling begin; without one its first token stands for the note.
    """

    text: str
    family: Literal["bert", "longformer"]
    wording: Wording
    max_tokens: int
    width: int
    factor: tuple[str, Literal["logarithm", "inverse"]]
    project: Mapping[Modality, tuple[str, bool]] = field(default_factory=dict)
    pooler: str | None = None


LAYOUTS: Mapping[str, Layout] = {
    "merlin": Layout(
        "encode_text.text_encoder.", "longformer", "merlin", 1024, 512, ("logit_scale", "logarithm"),
        {"image": ("encode_image.i3_resnet.contrastive_head", True), "text": ("encode_text.linear_layer", True)},
    ),
    "ct_clip": Layout(
        "text_transformer.", "bert", "ct_clip", 512, 512, ("temperature", "logarithm"), {"text": ("to_text_latent", False)}
    ),
    "colipri": Layout(
        "text_encoder.backbone.", "bert", "plain", 512, 768, ("softmax_temperature", "inverse"), pooler="text_encoder.pooler."
    ),
}  # fmt: skip
"""By name of the contract."""


def open_published(
    name: str, weights: Path, text: Path, out: Path, *, revision: str | None = None,
    image_options: Mapping[str, Any] | None = None, width: int | None = None,
) -> None:  # fmt: skip
    """Make a pretrained folder of published weights.

    Args:
        name: Of the contract.
        weights: Published file, ending in .pt or .safetensors.
        text: Published folder of the text encoder's tokenizer and `config.json`; its weights are in the file.
        out: New folder.
        revision: Of the weights, recorded.
        image_options: Of the image encoder, for weights of another size than the published.
        width: Of the common space, likewise.

    Raises:
        TaskError: If there is no such contract, or something cannot be read or is not in the published layout.
        StoreError: If there is something at `out`.
    """
    if name not in LAYOUTS:
        msg = f"Expected one of {', '.join(LAYOUTS)}; got another name."
        raise TaskError(msg)
    layout, contract, state = LAYOUTS[name], CONTRACTS[name], read_state(str(weights))
    tokenizer, config = _read_text(text, layout, state)
    options: dict[str, Any] = {"config": config, "pool": "first" if layout.pooler is None else "attention"}
    sides = Side(contract.recipe, name, dict(image_options or {})), Side(tokenizer.recipe, "tower", options)
    network = PretrainedNetwork(PretrainedConfig(*sides, (OPENED,), width or layout.width))
    _fill(network, layout, state, name)
    published, digest = contract.weights, sha256_of(weights)
    origin = {"name": name, "licence": published.licence, "weights": published.page, "revision": revision, "sha256": digest}
    about = {"medmm": medmm.__version__, "opened": origin}
    with appearing(out) as folder:
        write_csv(folder / "split.csv", ["study_id", "patient_id", "split"], [])  # nobody of ours; whom else, is not known
        save_pretrained(folder, network.eval(), Preprocessor(contract.recipe, tokenizer), about)


def _read_text(folder: Path, layout: Layout, state: State) -> tuple[NoteTokenizer, dict[str, Any]]:
    """Tokenizer and configuration; the file of weights says how many words there are."""
    from transformers import AutoConfig, AutoTokenizer, BertTokenizer

    words = state.get(f"{layout.text}embeddings.word_embeddings.weight")
    try:
        stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = AutoConfig.for_model(layout.family, **{k: v for k, v in stated.items() if k not in _OF_ITS_CODE}).to_diff_dict()
        reader: Any = BertTokenizer if layout.family == "bert" else AutoTokenizer
        tokenizer = reader.from_pretrained(folder, trust_remote_code=False).backend_tokenizer
    except Exception:  # foreign files: parsers throw anything
        msg = "Expected a folder with config.json and the tokenizer of the text encoder, as published; it could not be read."
        raise TaskError(msg) from None
    if words is None or not len(words) / 2 <= tokenizer.get_vocab_size() <= len(words):
        known = tokenizer.get_vocab_size()
        msg = f"Expected a tokenizer for the {0 if words is None else len(words)} words of the weights; got one of {known}."
        raise TaskError(msg)
    config |= {"model_type": layout.family, "vocab_size": len(words)}
    return NoteTokenizer(tokenizer, layout.max_tokens, wording=layout.wording), config


_OF_ITS_CODE = ("model_type", "auto_map", "architectures", "_name_or_path", "dtype", "torch_dtype", "transformers_version")


def _fill(network: PretrainedNetwork, layout: Layout, state: State, name: str) -> None:
    encoders: Any = network.encoders
    encoders["image"].take(state)
    encoders["text"].take(_below(state, layout.text), _below(state, layout.pooler or " "), name)
    alignment = network.alignment
    for modality, project in alignment.project.items():
        _fill_projection(project, state, layout.project.get(modality), name)
    stored, written = layout.factor
    value = float(state[stored]) if stored in state else math.nan
    if not math.isfinite(value) or (written == "inverse" and value <= 0):
        msg = f"Expected a finite {stored} in the weights of {name}; there is none."
        raise TaskError(msg)
    alignment.log_factor.data.fill_(value if written == "logarithm" else -math.log(value))


def _fill_projection(project: nn.Module, state: State, published: tuple[str, bool] | None, name: str) -> None:
    """Of a linear layer, or of a convolution over one voxel, which is the same; where none has a bias, ours is 0."""
    wanted = project.state_dict()
    found: dict[str, torch.Tensor] = {}
    if published is not None:
        at, biased = published
        found = _below(state, f"{at}.")
        found = {part: tensor.flatten(1) if part == "weight" else tensor for part, tensor in found.items()}
        if not biased and "bias" not in found and "bias" in wanted:
            found["bias"] = torch.zeros_like(wanted["bias"])
    if {part: tensor.shape for part, tensor in found.items()} != {part: tensor.shape for part, tensor in wanted.items()}:
        msg = f"Expected the projections of {name} into its common space; one is missing, too many or of another shape."
        raise TaskError(msg)
    refuse_not_finite(found, wanted, TaskError)
    project.load_state_dict(found)


def _below(state: State, prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
