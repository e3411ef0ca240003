"""Speech recognisers in hub layout with random weights: they write nonsense, but they write it the same way every time."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizerFast,
)

_START, _END = "<|startoftranscript|>", "<|endoftext|>"
_SPECIAL = [_END, _START, "<|en|>", "<|transcribe|>", "<|translate|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]


def whisper(folder: Path) -> Path:
    """A Whisper of two layers that was trained for English only."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    words.train_from_iterator(["a mass of three centimetres in the left lung"], trainer)
    words.add_special_tokens(_SPECIAL)  # last of all, as Whisper has them: what comes after the last is a time
    folder.mkdir(parents=True, exist_ok=True)
    words.save(str(folder / "tokenizer.json"))
    tokenizer = WhisperTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), eos_token=_END, bos_token=_END, unk_token=_END,
                                     pad_token=_END, additional_special_tokens=_SPECIAL[1:])  # fmt: skip
    start, end = tokenizer.convert_tokens_to_ids(_START), tokenizer.convert_tokens_to_ids(_END)
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer), d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=80, max_source_positions=1500,
            max_target_positions=64, decoder_start_token_id=start, bos_token_id=end, eos_token_id=end, pad_token_id=end,
            init_std=0.5,
        )
    )  # fmt: skip
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start, eos_token_id=end, pad_token_id=end, bos_token_id=end, max_length=24, is_multilingual=False,
        no_timestamps_token_id=tokenizer.convert_tokens_to_ids("<|notimestamps|>"), return_timestamps=False,
    )  # fmt: skip
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


def wav2vec2(folder: Path) -> Path:
    """A wav2vec 2.0 of two layers that spells."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=[8, 8],
        conv_kernel=[10, 8], conv_stride=[80, 8], num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        num_feat_extract_layers=2, pad_token_id=0, initializer_range=0.5,
    )  # fmt: skip
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder
