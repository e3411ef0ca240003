"""Text encoders: a small transformer of our own and any Hugging Face encoder, both reading numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from medmm.encoders import Encoded
from medmm.errors import TaskError
from medmm.transforms.text import TextRecipe
from medmm.types import Modality
from medmm.weights import refuse_not_finite

OF_ITS_FOLDER = ("_name_or_path", "dtype", "transformers_version")  # entries of a config that say nothing of the network
_RESERVED = 2  # positions some encoders (RoBERTa) keep for themselves
_UNUSED = ("pooler.", "decoder.")  # here, and absent from many checkpoints


class NumberEmbedding(nn.Module):
    """A number to a vector: its size on a log scale as soft bins, and its sign.

    Two numbers a factor of two apart share no bin at all, while 61 and 63 share most, so any
    threshold on a value is nearly a linear function of this vector.

    Args:
        width: Length of the vector.
    """

    _LOWEST, _TYPICAL, _HIGHEST, _PER_DECADE = -2.0, 1.0, 5.0, 8

    def __init__(self, width: int) -> None:
        super().__init__()
        bins = int((self._HIGHEST - self._LOWEST) * self._PER_DECADE) + 1
        self.project = nn.Linear(bins + 2, width)
        decades = self._LOWEST - self._TYPICAL + torch.arange(bins) / self._PER_DECADE
        with torch.no_grad():  # to begin with a line over the logarithm: larger and smaller need not be learned bin by bin
            self.project.weight[:, :bins] += torch.randn(width, 1) * 0.3 * decades

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Embed (...,) float values to (..., width)."""
        size = values.abs()
        place = (size.clamp_min(1e-9).log10().clamp(self._LOWEST, self._HIGHEST) - self._LOWEST) * self._PER_DECADE
        centres = torch.arange(self.project.in_features - 2, device=values.device)
        bins = (1 - (place[..., None] - centres).abs()).clamp_min(0)
        extra = torch.stack([(values < 0).float(), (size < 1e-9).float()], dim=-1)
        vector: torch.Tensor = self.project(torch.cat([bins, extra], dim=-1))
        return vector


class NumberTransformer(nn.Module):
    """A small transformer trained from scratch on few notes; needs no download.

    Word order enters through a convolution over neighbouring tokens, not through positions, so
    "no weight loss" is one feature wherever it stands and whatever stands around it. Pooling joins
    maximum and mean: a finding is usually one phrase of many.

    Args:
        recipe: Of the notes.
        width, depth, heads: Size; depth 0 leaves the convolution alone.
        reach: Tokens the convolution sees at once, odd.
        dropout: On embeddings and within layers.
        token_dropout: Share of tokens hidden in training, in short spans, so that no single word is learned by heart.
        hidden_id: Id shown instead of a hidden token.
    """

    modality: Modality = "text"
    recomputable = "layers"

    def __init__(
        self, recipe: TextRecipe, *, width: int = 64, depth: int = 1, heads: int = 4, reach: int = 5,
        dropout: float = 0.4, token_dropout: float = 0.3, hidden_id: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.out_features = width
        self.token_dropout, self.hidden_id = token_dropout, hidden_id
        self.words = nn.Embedding(recipe.vocabulary, width)
        self.numbers = NumberEmbedding(width)
        self.drop = nn.Dropout(dropout)
        self.neighbours = nn.Conv1d(width, width, reach, padding=reach // 2)
        layers = [
            nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        ]
        self.layers = nn.ModuleList(layers)
        self.pool = nn.Linear(2 * width, width)
        nn.init.normal_(self.words.weight, std=0.1)

    def forward(self, ids: torch.Tensor, values: torch.Tensor, is_number: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """Encode (B, T) notes; `mask` is True on real tokens."""
        if self.training and self.token_dropout:
            hidden = _spans(mask.shape, self.token_dropout, mask.device)
            ids, is_number = ids.masked_fill(hidden, self.hidden_id), is_number & ~hidden
        real = mask[..., None]
        x = self.drop(self.words(ids) + self.numbers(values) * is_number[..., None]) * real
        x = torch.relu(self.neighbours(x.transpose(1, 2)).transpose(1, 2)) * real
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~mask)
        strongest = x.masked_fill(~real, torch.finfo(x.dtype).min).amax(1)
        return Encoded(x, mask, self.pool(torch.cat([strongest, _mean(x, mask)], dim=1)))


class HuggingFace(nn.Module):
    """Any Hugging Face text encoder, with number values added to its word embeddings.

    Args:
        recipe: Of the notes.
        config: The `transformers` configuration as a dictionary. Weights are random until
            `load_pretrained` or a model folder fills them.
    """

    modality: Modality = "text"
    recomputable = "net"

    def __init__(self, recipe: TextRecipe, *, config: dict[str, Any]) -> None:
        from transformers import AutoConfig, AutoModel

        super().__init__()
        kind = {key: value for key, value in config.items() if key != "model_type"}
        self.net = encoder_of(AutoModel.from_config(AutoConfig.for_model(config["model_type"], **kind), trust_remote_code=False))
        self.out_features = int(self.net.config.hidden_size)
        self.numbers = NumberEmbedding(self.net.get_input_embeddings().embedding_dim)  # ELECTRA and ALBERT widen it later
        nn.init.zeros_(self.numbers.project.weight)  # start from exactly what was pretrained
        nn.init.zeros_(self.numbers.project.bias)

    def load_pretrained(self, source: str) -> None:
        """Take the weights of a local folder or hub repository; safetensors only, no remote code.

        Raises:
            TaskError: If they cannot be read, do not fill the encoder, or are not finite.
        """
        from transformers import AutoModel

        with _refusing_source():
            pretrained, found = AutoModel.from_pretrained(
                source, trust_remote_code=False, use_safetensors=True, output_loading_info=True
            )
            state = encoder_of(pretrained).state_dict()
            self.net.load_state_dict(state)
        missing = sorted(name for name in found["missing_keys"] if not name.startswith(_UNUSED))
        if missing:
            msg = f"Expected pretrained weights for the whole text encoder; missing {missing[:3]}. They would stay random."
            raise TaskError(msg)
        refuse_not_finite(state, self.net.state_dict(), TaskError)

    def forward(self, ids: torch.Tensor, values: torch.Tensor, is_number: torch.Tensor, mask: torch.Tensor) -> Encoded:
        """Encode (B, T) notes; `mask` is True on real tokens."""
        words = self.net.get_input_embeddings()(ids)
        words = words + self.numbers(values) * is_number[..., None]
        tokens = self.net(inputs_embeds=words, attention_mask=mask.long()).last_hidden_state
        return Encoded(tokens, mask, _mean(tokens, mask))


def encoder_of(model: Any) -> Any:
    """A Hugging Face model without its decoder, if it has one, as T5 and Whisper have."""
    return model.get_encoder() if model.config.is_encoder_decoder else model


def read_pretrained(source: str) -> tuple[Any, dict[str, Any], int]:
    """What a Hugging Face encoder needs beside its weights.

    Args:
        source: Local folder in hub layout, or hub name.

    Returns:
        Its `tokenizers.Tokenizer`, its configuration as a dictionary, and the longest input in tokens.

    Raises:
        TaskError: If they cannot be read, or do not fit each other.
    """
    from transformers import AutoConfig, AutoTokenizer

    with _refusing_source():
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        stated = AutoConfig.from_pretrained(source, trust_remote_code=False)
        backend, longest = tokenizer.backend_tokenizer, int(tokenizer.model_max_length)
    config, positions = stated.to_dict(), getattr(stated, "max_position_embeddings", None)  # some have it by another name
    words, known = int(config.get("vocab_size") or 0), int(backend.get_vocab_size())
    if not words / 2 <= known <= words:  # without its files transformers makes a tokenizer that knows no word
        msg = f"Expected a tokenizer for the {words} words of the text encoder; got one of {known}. Is tokenizer.json there?"
        raise TaskError(msg)
    longest = min(longest, positions - _RESERVED) if positions else longest
    return backend, {key: value for key, value in config.items() if key not in OF_ITS_FOLDER}, longest


@contextmanager
def _refusing_source() -> Iterator[None]:
    try:
        yield
    except Exception:  # foreign files: parsers throw anything
        msg = (
            "Expected a Hugging Face text encoder as text_source: a folder or hub name with config.json, tokenizer.json and "
            "safetensors weights; it could not be read."
        )
        raise TaskError(msg) from None


def _spans(shape: torch.Size, share: float, device: torch.device) -> torch.Tensor:
    """(B, T) bool, True on random spans of three tokens that cover about `share` of each row."""
    starts = (torch.rand(shape, device=device) < share / 3).float()
    return nn.functional.max_pool1d(starts[:, None], 3, stride=1, padding=1)[:, 0] > 0


def _mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weight = mask[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1).clamp_min(1)
