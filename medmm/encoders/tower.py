"""The text side of published image-text weights: a Hugging Face encoder as it was trained, without values of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.encoders.colipri import AttentionPool
from medmm.encoders.opened import fill
from medmm.transforms.text import TextRecipe
from medmm.types import Modality

_UNUSED = ("pooler.", "embeddings.position_ids", "embeddings.token_type_ids")  # in some files


class TextTower(nn.Module):
    """Tokens and the first of them, or what attention pools of all.

    Args:
        recipe: Of the notes.
        config: The `transformers` configuration as a dictionary.
        pool: What stands for the whole note.
    """

    modality: Modality = "text"

    def __init__(self, recipe: TextRecipe, *, config: dict[str, Any], pool: Literal["first", "attention"] = "first") -> None:
        from transformers import AutoConfig, AutoModel

        super().__init__()
        kind = {key: value for key, value in config.items() if key != "model_type"}
        stated = AutoConfig.for_model(config["model_type"], **kind)
        self.net = AutoModel.from_config(stated, trust_remote_code=False, add_pooling_layer=False)
        self.out_features = int(stated.hidden_size)
        self.pooler = AttentionPool(self.out_features, int(stated.num_attention_heads)) if pool == "attention" else None

    def forward(self, ids: torch.Tensor, values: torch.Tensor, is_number: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """Encode (B, T) notes; `mask` is True on real tokens."""
        tokens = self.net(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return Encoded(tokens, mask, tokens[:, 0] if self.pooler is None else self.pooler(tokens, mask))

    def take(self, net: Mapping[str, torch.Tensor], pooler: Mapping[str, torch.Tensor], whose: str) -> None:
        """Take the published weights of the encoder and, where there is one, of what pools it.

        Raises:
            TaskError: If they are not exactly these.
        """
        fill(self.net, net, whose, others=_UNUSED)
        if self.pooler is not None:
            fill(self.pooler, pooler, whose, others=())
