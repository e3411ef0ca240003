"""A Hugging Face text encoder as people keep them: a folder in hub layout."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest
import torch


class BuildEncoder(Protocol):
    """Writes a tiny BERT with random weights."""

    def __call__(self, folder: Path, dtype: torch.dtype = torch.float32, *, head: bool = False) -> Path: ...


@pytest.fixture(scope="session")
def build_bert() -> BuildEncoder:
    """Function that writes a tiny BERT, by default in single precision and without a head."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast

    def build(folder: Path, dtype: torch.dtype = torch.float32, *, head: bool = False) -> Path:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        alphabet = [chr(c) for c in range(33, 127)]
        trainer = trainers.WordPieceTrainer(vocab_size=250, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(["no weight loss lesion of 24 mm man 61"] * 3, trainer)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
        ).save_pretrained(folder)
        torch.manual_seed(1)
        size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
        config = BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=40, **size)
        (BertForMaskedLM if head else BertModel)(config).to(dtype).save_pretrained(folder)
        return folder

    return build
