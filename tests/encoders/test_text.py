"""Text encoders: numbers as numbers, and Hugging Face encoders from a local folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from medmm import open_study
from medmm.encoders.text import HuggingFace, NumberEmbedding, NumberTransformer, read_pretrained
from medmm.errors import TaskError
from medmm.inference import Predictor
from medmm.training import TrainConfig, train
from medmm.transforms.batch import Preprocessor
from medmm.transforms.text import NoteTokenizer, TextRecipe


@pytest.fixture(scope="module")
def embedding() -> NumberEmbedding:
    torch.manual_seed(0)
    return NumberEmbedding(64)


def apart(embedding: NumberEmbedding, one: float, other: float) -> float:
    a, b = embedding(torch.tensor([one, other], dtype=torch.float32))
    return float((a - b).detach().norm())


def test_numbers_far_apart_are_far_apart_for_the_encoder(embedding: NumberEmbedding) -> None:
    assert apart(embedding, 24, 81) > 5 * apart(embedding, 24, 25)
    assert apart(embedding, 24, 81) > 5 * apart(embedding, 61, 63)
    assert apart(embedding, 5, -5) > 0.1
    assert apart(embedding, 65, 65.0) == 0


def test_any_threshold_on_a_value_is_nearly_linear_in_its_embedding(embedding: NumberEmbedding) -> None:
    seen, unseen = np.geomspace(1, 1000, 60), np.geomspace(1.05, 990, 57)
    for threshold in (4.0, 40.0, 400.0):
        inputs = np.c_[embedding(torch.tensor(seen).float()).detach().numpy(), np.ones(len(seen))]
        weights, *_ = np.linalg.lstsq(inputs, np.sign(seen - threshold), rcond=1e-6)
        scored = np.c_[embedding(torch.tensor(unseen).float()).detach().numpy(), np.ones(len(unseen))] @ weights
        clear = np.abs(np.log(unseen / threshold)) > 0.35
        assert (np.sign(scored) == np.sign(unseen - threshold))[clear].all()


def test_before_training_larger_numbers_lie_further_along_one_line() -> None:
    torch.manual_seed(0)
    values = torch.logspace(-1, 3, 40)
    vectors = NumberEmbedding(32)(values)
    _, _, directions = torch.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    along = (vectors @ directions[0])[:, None]
    assert torch.corrcoef(torch.cat([along, values.log10()[:, None]], dim=1).T)[0, 1].abs() > 0.98


@pytest.mark.parametrize("value", [0.0, 1e-30, -1e-30, 1e30, -1e30, 3.4e38])
def test_extreme_numbers_stay_finite(embedding: NumberEmbedding, value: float) -> None:
    assert torch.isfinite(embedding(torch.tensor([value]))).all()


@pytest.fixture(scope="module")
def notes() -> NoteTokenizer:
    return NoteTokenizer.trained_on(["lesion of 24 mm, no weight loss"] * 4, vocabulary=300, max_tokens=64)


def encode(encoder: torch.nn.Module, tokenizer: NoteTokenizer, *texts: str) -> torch.Tensor:
    preprocessor = Preprocessor(None, tokenizer)
    batch = preprocessor.collate([preprocessor.prepare(open_study(None, note=t))[0] for t in texts])
    with torch.no_grad():
        pooled: torch.Tensor = encoder.eval()(*batch.inputs["text"]).pooled
    return pooled


def test_the_built_in_encoder_tells_sizes_and_negations_apart_and_equal_sizes_not(notes: NoteTokenizer) -> None:
    torch.manual_seed(0)
    encoder = NumberTransformer(TextRecipe(notes.vocabulary_size))
    a, same, near, far, denied = encode(
        encoder, notes, "lesion of 2.4 cm", "lesion of 24 mm", "lesion of 2.5 cm", "lesion of 8.1 cm", "no lesion of 2.4 cm"
    )
    assert torch.allclose(a, same, atol=1e-6)
    assert (a - far).norm() > 3 * (a - near).norm()
    assert (a - denied).norm() > 0.01


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_padding_does_not_change_a_note(notes: NoteTokenizer, depth: int) -> None:
    torch.manual_seed(0)
    encoder = NumberTransformer(TextRecipe(notes.vocabulary_size), depth=depth)
    alone = encode(encoder, notes, "lesion of 24 mm")[0]
    padded = encode(encoder, notes, "lesion of 24 mm", "no weight loss " * 12)[0]
    assert torch.allclose(alone, padded, atol=1e-5)


@pytest.fixture(scope="module")
def bert(build_bert: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_bert(tmp_path_factory.mktemp("hub") / "bert")


def loaded(source: Path) -> tuple[HuggingFace, NoteTokenizer]:
    backend, config, longest = read_pretrained(str(source))
    encoder = HuggingFace(TextRecipe(300), config=config)
    encoder.load_pretrained(str(source))
    return encoder, NoteTokenizer(backend, longest)


SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40, "hidden_size": 32, "vocab_size": 60}


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "electra", "embedding_size": 16, **SMALL},
        {"model_type": "albert", "embedding_size": 16, **SMALL},
        {"model_type": "t5", "vocab_size": 60, "d_model": 32, "d_kv": 16, "d_ff": 40, "num_layers": 2, "num_heads": 2},
    ],
    ids=["electra", "albert", "t5"],
)
def test_narrow_embeddings_and_encoders_of_a_decoder_are_read_too(config: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    reference = AutoModel.from_config(AutoConfig.for_model(**config)).eval()
    reference.save_pretrained(tmp_path)
    encoder = HuggingFace(TextRecipe(60), config=config).eval()
    encoder.load_pretrained(str(tmp_path))
    ids, real = torch.arange(5, 13)[None], torch.ones(1, 8, dtype=torch.bool)
    with torch.no_grad():
        whole = {} if config["model_type"] != "t5" else {"decoder_input_ids": ids}
        said = reference(input_ids=ids, **whole)
        expected = said.encoder_last_hidden_state if whole else said.last_hidden_state
        encoded = encoder(ids, torch.full((1, 8), 3.0), real, real)  # number values begin with nothing to say
    assert encoded.tokens.shape == (1, 8, encoder.out_features)
    assert torch.allclose(encoded.tokens, expected, atol=1e-6)


@pytest.mark.parametrize(("dtype", "head"), [("float32", False), ("float16", False), ("bfloat16", False), ("float32", True)])
def test_the_pretrained_encoder_says_what_transformers_says(build_bert: Any, tmp_path: Path, dtype: str, head: bool) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = build_bert(tmp_path / "m", getattr(torch, dtype), head=head)
    encoder, tokenizer = loaded(folder)
    reference = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = AutoTokenizer.from_pretrained(folder)("no weight loss lesion", return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        expected = reference(**inputs).last_hidden_state.mean(1)
    assert torch.allclose(encode(encoder, tokenizer, "no weight loss lesion"), expected, atol=1e-6)


def test_a_pretrained_encoder_can_learn_from_numbers(bert: Path) -> None:
    encoder, tokenizer = loaded(bert)
    torch.nn.init.normal_(encoder.numbers.project.weight)  # as after some training
    a, same, far = encode(encoder, tokenizer, "lesion of 2.4 cm", "lesion of 24 mm", "lesion of 8.1 cm")
    assert torch.allclose(a, same, atol=1e-6)
    assert (a - far).norm() > 0.1


def test_notes_longer_than_the_encoder_reads_are_cut_to_its_positions(bert: Path) -> None:
    encoder, tokenizer = loaded(bert)
    assert tokenizer.max_tokens == 38
    _, notices = tokenizer.encode("lesion " * 60)
    assert [n.code for n in notices] == ["W_NOTE_CUT"]
    assert torch.isfinite(encode(encoder, tokenizer, "lesion " * 60)).all()


@pytest.mark.parametrize("broken", ["nothing", "pickle", "no_tokenizer", "half_the_weights", "no_json", "nan"])
def test_an_encoder_that_cannot_be_read_in_full_is_refused(bert: Path, tmp_path: Path, broken: str) -> None:
    folder = tmp_path / "m"
    if broken != "nothing":
        shutil.copytree(bert, folder)
    weights = folder / "model.safetensors"
    if broken == "pickle":
        torch.save(load_file(weights), folder / "pytorch_model.bin")
        weights.unlink()
    if broken == "no_tokenizer":
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()
    if broken == "half_the_weights":
        kept = {name: tensor for name, tensor in load_file(weights).items() if "layer.1" not in name}
        save_file(kept, weights, {"format": "pt"})
    if broken == "nan":
        tensors = load_file(weights)
        tensors["encoder.layer.1.output.dense.bias"][3] = torch.nan
        save_file(tensors, weights, {"format": "pt"})
    if broken == "no_json":
        (folder / "config.json").write_text("{")
    with pytest.raises(TaskError) as caught:
        loaded(folder)
    assert str(tmp_path) not in caught.value.message


def test_a_model_trained_on_it_opens_without_the_folder_it_came_from(bert: Path, tmp_path: Path) -> None:
    source = shutil.copytree(bert, tmp_path / "source")
    rows = [
        {"study_id": f"S{i}", "patient_id": f"P{i}", "note": f"lesion of {20 + 40 * (i % 2)} mm", "label": "ny"[i % 2],
         "split": "val" if i % 3 == 0 else "train"}
        for i in range(36)
    ]  # fmt: skip
    with (tmp_path / "cohort.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    config = TrainConfig(text_source=str(source), epochs=1, pretrained_rate=1e-9, width=16)
    train(tmp_path / "cohort.csv", tmp_path / "run", config, labels=("n", "y"))
    pretrained = load_file(source / "model.safetensors")
    shutil.rmtree(source)
    predictor = Predictor.load(tmp_path / "run", "cpu")
    encoder = predictor.folder.model.encoders["text"]
    stored = encoder.net.state_dict()
    assert all(torch.allclose(stored[name], tensor, atol=1e-6) for name, tensor in pretrained.items())
    assert encoder.numbers.project.weight.abs().max() > 1e-4  # what is new learns at the common rate
    assert predictor.predict(open_study(None, note="lesion of 24 mm")).pattern == "text"
    config_text = (tmp_path / "run" / "config.json").read_text()
    assert str(tmp_path) not in config_text
    assert json.loads(config_text)["model"]["text"]["encoder"] == "huggingface"
