"""Published weights in their published layout become a pretrained folder that embeds as their authors' code does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from scipy.special import expit
from tokenizers import ByteLevelBPETokenizer
from torch import nn
from torch.nn import functional
from transformers import BertConfig, BertModel, LongformerConfig, LongformerModel
from typer.testing import CliRunner

from medmm.cli import app
from medmm.encoders import ENCODERS
from medmm.encoders.opened import CONTRACTS
from medmm.errors import StoreError, TaskError
from medmm.evaluation.embedded import embed_texts
from medmm.model_folder import load_model_folder
from medmm.pretrained.folder import Pretrained, load_pretrained
from medmm.pretrained.opened import open_published
from medmm.space.checks import card_header
from medmm.table import read_rows
from medmm.training import TrainConfig, train
from medmm.training.config import checked
from medmm.training.teacher import Teacher
from medmm.transforms.text import NoteTokenizer, TextRecipe

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "lung", "nodule", "is", "not", "present", ".", "2", "4", "cm", "effusion"]
TINY = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 30, "initializer_range": 0.5}
SIZES: dict[str, tuple[dict[str, Any], int]] = {
    "ct_clip": ({"width": 16, "depth": 1, "heads": 2, "head_width": 8, "codes": 20}, 16),
    "colipri": ({"width": 36, "depth": 1, "heads": 3, "out": 24}, 24),
    "merlin": ({"blocks": [1, 1, 1, 1]}, 20),
}
SENTENCES = ["Lung nodule is present.", "Lung nodule is not present. 2.4 cm"]


def write_cxr_bert(folder: Path) -> None:
    """As published: a vocabulary, and a configuration that names code of its own, which is never run."""
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    auto_map = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoTokenizer": ["code.Tokenizer", None]}
    content = {**BertConfig(vocab_size=len(WORDS), **TINY).to_diff_dict(), "model_type": "cxr-bert", "projection_size": 128}
    (folder / "config.json").write_text(json.dumps({**content, "auto_map": auto_map}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CXRBertTokenizer", "auto_map": auto_map}))


def write_longformer(folder: Path) -> int:
    """As published: a byte-level vocabulary with its merges. Returns the number of words."""
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(SENTENCES * 3, vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.save_model(str(folder))
    config = LongformerConfig(
        vocab_size=tokenizer.get_vocab_size(), attention_window=[8, 8], max_position_embeddings=1030, type_vocab_size=1,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, sep_token_id=2, **TINY,
    )  # fmt: skip
    config.save_pretrained(folder)
    return tokenizer.get_vocab_size()


class Made:
    """A published layout with random weights.

    Attributes:
        weights: File of them.
        text: Folder of the tokenizer.
        tensors: What is in the file.
        net: The text encoder as `transformers` makes it.
    """

    def __init__(self, name: str, folder: Path) -> None:
        torch.manual_seed(5)
        self.text = folder / "text"
        self.text.mkdir()
        options, width = SIZES[name]
        encoder: Any = ENCODERS["image"].get(name)(CONTRACTS[name].recipe, **options)
        state, linear = encoder.state_dict(), nn.Linear(TINY["hidden_size"], width)
        if name == "merlin":
            config = LongformerConfig.from_pretrained(self.text) if write_longformer(self.text) else None
            self.net: Any = LongformerModel(config).eval()
            head = nn.Conv3d(2048, width, 1).state_dict()
            self.tensors = {"encode_image.i3_resnet." + n.removeprefix("net."): t for n, t in state.items()}
            self.tensors |= {f"encode_image.i3_resnet.contrastive_head.{n}": t for n, t in head.items()}
            self.tensors |= {f"encode_text.text_encoder.{n}": t for n, t in self.net.state_dict().items()}
            self.tensors |= {f"encode_text.linear_layer.{n}": t for n, t in linear.state_dict().items()}
            self.tensors["logit_scale"] = torch.tensor(1.2)
        else:
            write_cxr_bert(self.text)
            self.net = BertModel(BertConfig(vocab_size=len(WORDS), **TINY), add_pooling_layer=name == "ct_clip").eval()
        if name == "ct_clip":
            self.tensors = dict(state)
            self.tensors |= {f"text_transformer.{n}": t for n, t in self.net.state_dict().items()}
            self.tensors |= {"text_transformer.embeddings.position_ids": torch.arange(512)[None]}
            self.tensors |= {"to_text_latent.weight": linear.weight.detach(), "temperature": torch.tensor(1.5)}
        if name == "colipri":
            self.pool = nn.MultiheadAttention(24, 3, batch_first=True)
            self.tensors = {f"image_encoder.{n}": t for n, t in state.items()}
            self.tensors |= {f"text_encoder.backbone.{n}": t for n, t in self.net.state_dict().items()}
            self.tensors |= {f"text_encoder.pooler.attn.{n}": t for n, t in self.pool.state_dict().items()}
            self.tensors["softmax_temperature"] = torch.tensor(0.05)
        self.weights = folder / ("model.safetensors" if name == "colipri" else "weights.pt")
        self.write(self.tensors)
        self.linear, self.name = linear, name

    def write(self, tensors: dict[str, torch.Tensor]) -> None:
        plain = {n: t.detach().clone().contiguous() for n, t in tensors.items()}
        if self.weights.suffix == ".pt":
            torch.save(plain, self.weights)
        else:
            save_file(plain, self.weights)

    def open(self, out: Path, **changes: Any) -> None:
        options, width = SIZES[self.name]
        open_published(self.name, self.weights, self.text, out, image_options=options, width=width, **changes)

    @torch.no_grad()
    def embed(self, sentence: str) -> torch.Tensor:
        """As the published code does, on words numbered by hand or by the published tokenizer's own class."""
        if self.name == "merlin":
            plain = ByteLevelBPETokenizer(str(self.text / "vocab.json"), str(self.text / "merges.txt"))
            ids = torch.tensor([[0, *plain.encode(" ".join(spaced(sentence))).ids, 2]])
            return functional.normalize(self.linear(self.net(ids).last_hidden_state[:, 0]))[0]
        known = [WORDS.index(w) if w in WORDS else 1 for w in spaced(sentence)]
        ids = torch.tensor([[2, *known, 3] + [0] * (512 - len(known) - 2)])
        mask = (ids != 0).long()
        tokens = self.net(ids, attention_mask=mask).last_hidden_state
        if self.name == "ct_clip":
            return functional.normalize(tokens[:, 0] @ self.linear.weight.T)[0]
        mean = (tokens * mask[..., None]).sum(1, keepdim=True) / mask.sum()
        return functional.normalize(self.pool(mean, tokens, tokens, key_padding_mask=mask == 0)[0][:, 0])[0]


def spaced(sentence: str) -> list[str]:
    """Words and marks of these sentences, in small letters."""
    return sentence.lower().replace(".", " . ").split()


@pytest.fixture(scope="module", params=list(SIZES))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(request.param, tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def opened(made: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pretrained]:
    out = tmp_path_factory.mktemp("opened") / "folder"
    made.open(out, revision="a" * 40)
    return out, load_pretrained(out, torch.device("cpu"))


def test_texts_are_embedded_as_published(made: Made, opened: tuple[Path, Pretrained]) -> None:
    found = embed_texts(SENTENCES, opened[1])
    for sentence, vector in zip(SENTENCES, found, strict=True):
        np.testing.assert_allclose(vector, made.embed(sentence).numpy(), atol=2e-5)
    assert abs(float(found[0] @ found[1])) < 0.99


def test_images_are_embedded_and_compared_as_published(made: Made, opened: tuple[Path, Pretrained]) -> None:
    network, tensors = opened[1].network, made.tensors
    shape = {"merlin": (32, 32, 32), "ct_clip": (480, 480, 10), "colipri": (24, 24, 24)}[made.name]
    image = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.no_grad():
        pooled = network.encoders["image"](image).pooled
        if made.name == "merlin":
            pooled = pooled @ tensors["encode_image.i3_resnet.contrastive_head.weight"].flatten(1).T
            pooled = pooled + tensors["encode_image.i3_resnet.contrastive_head.bias"]
        found = network.alignment.embed(network.encoders, "image", (image,))
    torch.testing.assert_close(found, functional.normalize(pooled), rtol=1e-4, atol=1e-5)
    factor = {"merlin": np.exp(1.2), "ct_clip": np.exp(1.5), "colipri": 1 / 0.05}[made.name]
    assert float(network.alignment.factor.detach()) == pytest.approx(factor, rel=1e-5)


def test_the_folder_says_whose_weights_it_holds(made: Made, opened: tuple[Path, Pretrained]) -> None:
    origin = opened[1].about["opened"]
    assert (origin["name"], origin["revision"], origin["licence"]) == (made.name, "a" * 40, CONTRACTS[made.name].weights.licence)
    assert made.name in opened[1].told(["image"])
    assert CONTRACTS[made.name].weights.licence in opened[1].told(["image"])
    assert opened[1].patients == frozenset()
    with pytest.raises(StoreError, match="something"):
        made.open(opened[0])


def _begins(tensors: dict[str, Any], name: str) -> str:
    return next(known for known in tensors if known.startswith(name))


def spoil(name: str) -> list[tuple[Callable[[dict[str, Any]], Any], str]]:
    text = {"merlin": "encode_text.text_encoder.", "ct_clip": "text_transformer.", "colipri": "text_encoder.backbone."}[name]
    factor = {"merlin": "logit_scale", "ct_clip": "temperature", "colipri": "softmax_temperature"}[name]
    layer = f"{text}encoder.layer.0.output.dense.bias"
    first = {"merlin": "encode_image.i3_resnet.conv1.weight", "ct_clip": "visual_transformer.to_patch_emb.2.bias"}
    last = {"merlin": "encode_text.linear_layer.weight", "ct_clip": "to_text_latent.weight"}
    image, projection = first.get(name, "image_encoder."), last.get(name, "text_encoder.pooler.attn.out_proj.bias")
    another_projection: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
        "merlin": (lambda t: t.pop("encode_image.i3_resnet.contrastive_head.bias"), "projections of merlin"),
        "ct_clip": (lambda t: t.update({"to_text_latent.bias": torch.zeros(1)}), "projections of ct_clip"),
        "colipri": (lambda t: t.pop("text_encoder.pooler.attn.in_proj_bias"), "1 are missing"),
    }
    return [
        (lambda t: t.pop(layer), "1 are missing"),
        (lambda t: t.update({f"{text}another": torch.zeros(1)}), "1 of no known part"),
        (lambda t: t.update({factor: torch.tensor(torch.nan)}), f"finite {factor}"),
        (lambda t: t.update({f"{text}embeddings.word_embeddings.weight": torch.zeros(9000, 24)}), "9000 words"),
        another_projection[name],
        (lambda t: t.update({layer: t[layer] / 0}), "layer.0.output.dense.bias holds NaN"),
        (lambda t: t.update({found: t[found] * torch.inf for found in [_begins(t, image)]}), "holds NaN"),
        (lambda t: t.update({projection: t[projection] * torch.nan}), "holds NaN"),
    ]


@pytest.mark.parametrize("case", range(8))
def test_what_is_not_the_published_layout_is_refused(made: Made, tmp_path: Path, case: int) -> None:
    change, reason = spoil(made.name)[case]
    tensors = dict(made.tensors)
    change(tensors)
    made.write(tensors)
    try:
        with pytest.raises(TaskError, match=reason):
            made.open(tmp_path / "out")
    finally:
        made.write(made.tensors)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tokenizer_or_name_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(TaskError, match="and the tokenizer of"):
        open_published("ct_clip", tmp_path / "w.pt", tmp_path / "SECRET", tmp_path / "out")
    with pytest.raises(TaskError, match="merlin, ct_clip, colipri"):
        open_published("other", tmp_path / "w.pt", tmp_path, tmp_path / "out")
    with pytest.raises(TaskError, match="init with the text encoder tower"):
        checked({"text_encoder": "tower"})


def test_ct_clip_answers_a_cohort_from_its_own_prompts(tmp_path: Path) -> None:
    made = Made("ct_clip", tmp_path)
    made.open(tmp_path / "pre")
    array = np.random.default_rng(0).normal(0, 300, (30, 30, 20)).astype(np.int16)
    nibabel.Nifti1Image(array, np.diag([-12.0, -12.0, 18.0, 1.0])).to_filename(tmp_path / "ct.nii")
    (tmp_path / "cohort.csv").write_text(
        "study_id,patient_id,image,label__lung nodule,label__effusion,split\ns,p,ct.nii,1,0,test\n"
    )
    findings = {n: {"present": [f"{n} is present."], "absent": [f"{n} is not present."]} for n in ("lung nodule", "effusion")}
    (tmp_path / "prompts.yaml").write_text(yaml.safe_dump({"name": "ct_clip", "findings": findings}))
    done = CliRunner().invoke(app, [
        "zeroshot", str(tmp_path / "cohort.csv"), "--model", str(tmp_path / "pre"), "--prompts", str(tmp_path / "prompts.yaml"),
        "--out", str(tmp_path / "zero.csv"),
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    row = read_rows(tmp_path / "zero.csv", TaskError)[0]
    from medmm import open_study

    pretrained = load_pretrained(tmp_path / "pre", torch.device("cpu"))
    sample, _ = pretrained.preprocessor.prepare(open_study(tmp_path / "ct.nii"))
    image = pretrained.network.embed("image", [sample], pretrained.preprocessor)[0]
    for name in findings:
        difference = made.embed(f"{name} is present.").numpy() - made.embed(f"{name} is not present.").numpy()
        assert float(row[f"p__{name}"]) == pytest.approx(expit(np.exp(1.5) * image @ difference), abs=1e-4)


def test_a_model_trained_from_them_carries_their_licence(tmp_path: Path) -> None:
    made = Made("ct_clip", tmp_path)
    made.open(tmp_path / "pre")
    sides = ["train"] * 24 + ["val"] * 12 + ["test"] * 4
    rows = [
        f"s{i},p{i},lung nodule is {'' if i % 2 else 'not '}present.,{'yes' if i % 2 else 'no'},{s}" for i, s in enumerate(sides)
    ]
    (tmp_path / "cohort.csv").write_text("\n".join(["study_id,patient_id,note,label,split", *rows]) + "\n")
    config = TrainConfig(
        epochs=1, width=8, modalities=("text",), text_encoder="tower", init=str(tmp_path / "pre"), augment=False, frozen=("text",)
    )
    with pytest.warns(UserWarning, match="tell"):  # the word that tells the label
        train(tmp_path / "cohort.csv", tmp_path / "run", config, device="cpu")
    model = load_model_folder(tmp_path / "run", torch.device("cpu"))
    assert card_header(model.card)["license"] == "cc-by-nc-sa-4.0"
    assert "published as ct_clip" in model.card
    layer = "encoder.layer.0.output.dense.bias"
    student = TrainConfig(epochs=1, width=8, modalities=("text",), augment=False)
    with pytest.warns(UserWarning, match="tell"):
        train(
            tmp_path / "cohort.csv",
            tmp_path / "student",
            student,
            device="cpu",
            teacher=Teacher.open(tmp_path / "run", model.model.device),
        )
    assert card_header((tmp_path / "student" / "card.md").read_text())["license"] == "cc-by-nc-sa-4.0"
    assert torch.equal(model.model.own_encoder("text").net.state_dict()[layer], made.tensors[f"text_transformer.{layer}"])


def test_published_wordings_leave_numbers_in_the_text() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "2.4": 1, "cm": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    note = 'Nodule "2.4 cm" (left).'
    for wording, text in (("plain", note), ("ct_clip", "Nodule 2.4 cm left."), ("merlin", 'nodule " 2 . 4 cm " ( left ).')):
        reader = NoteTokenizer(tokenizer, 20, wording=wording)
        assert reader.used_text(note) == text
        tokens, _ = reader.encode(note)
        assert not tokens.is_number.any()
        assert reader.recipe == TextRecipe(3, 20, None, wording)
        assert NoteTokenizer.from_json(reader.to_json(), reader.recipe).wording == wording
