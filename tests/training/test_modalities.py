"""Any subset of images, text, audio and tabular values trains, and any subset of what was trained on predicts."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn.functional import cross_entropy

from medmm.errors import TaskError
from medmm.evaluation.run import run_evaluation
from medmm.inference import Predictor
from medmm.model import MultimodalClassifier
from medmm.sources.cohort import Case, read_cohort
from medmm.table import read_rows
from medmm.training import TrainConfig, train
from medmm.types import MODALITIES, Modality, pattern_name

pytestmark = [
    pytest.mark.filterwarnings("ignore::medmm.leakage.LeakageWarning"),  # the classes differ in every modality on purpose
    pytest.mark.filterwarnings("ignore::medmm.training.partners.IdleWarning"),  # choices are of all, and each model is of some
]
SUBSETS = [frozenset(c) for size in range(1, 5) for c in combinations(MODALITIES, size)]
CONFIG = TrainConfig(
    epochs=1, width=16, voxels=8**3, tabular=("age", "sex", "crp"), units={"age": "years"}, fusion="concat",
    encoder_options={"image": {"widths": [4, 4, 8, 8]}, "text": {"width": 16}, "audio": {"widths": [8, 8]},
                     "tabular": {"width": 8}},
)  # fmt: skip


@pytest.fixture(scope="module")
def cohort(imaged_rows: Any, write_cohort: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty patients with all four modalities; every eighth lacks one."""
    import soundfile  # type: ignore[import-untyped]  # it ships no types

    folder = tmp_path_factory.mktemp("all")
    rows, rng = imaged_rows(30), np.random.default_rng(0)
    for i, row in enumerate(rows):
        tone = np.sin(2 * np.pi * (900 if i % 2 else 300) * np.arange(8000) / 16_000) * 0.2
        soundfile.write(folder / f"{i}.wav", tone + rng.normal(0, 0.01, 8000), 16_000)
        row["audio"] = f"{i}.wav"
        row |= {"age": f"{rng.integers(40, 60) + 20 * (i % 2)}", "sex": "fm"[i % 2], "crp": "" if i % 3 else "5.5"}
        if i % 8 == 7:
            row |= {"image": ""} if i == 7 else {"note": ""} if i == 15 else {"audio": ""}
    path: Path = write_cohort(folder, rows)
    return path


@pytest.fixture(scope="module")
def folder(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of all four."""
    out = tmp_path_factory.mktemp("model") / "all"
    train(cohort, out, CONFIG, device="cpu")
    return out


@pytest.fixture(scope="module")
def everything(folder: Path) -> Predictor:
    return Predictor.load(folder, "cpu")


def cases(cohort: Path, predictor: Predictor) -> list[Case]:
    table = predictor.folder.preprocessor.tabular
    fields = () if table is None else table.fields
    return [c for c in read_cohort(cohort, fields=fields).cases if c.split == "test"]


@pytest.mark.parametrize("subset", SUBSETS, ids=pattern_name)
def test_any_subset_trains_and_is_told_apart_in_its_folder(subset: frozenset[Modality], cohort: Path, tmp_path: Path) -> None:
    names = tuple(name for name in MODALITIES if name in subset)
    result = train(cohort, tmp_path / "m", replace(CONFIG, modalities=names), device="cpu")
    assert len(result.failures) == (len(subset) == 1 and "tabular" not in subset)  # one patient lacks just this
    predictor = Predictor.load(result.folder, "cpu")
    assert predictor.folder.model.config.modalities == names
    prediction = predictor.predict(next(c for c in cases(cohort, predictor) if c.images and c.note and c.audio).open())
    assert prediction.pattern == pattern_name(subset)
    assert sum(prediction.answer.probabilities.values()) == pytest.approx(1)


def test_any_subset_is_answered_as_if_nothing_else_had_been_handed_in(cohort: Path, everything: Predictor) -> None:
    study = next(c for c in cases(cohort, everything) if c.images and c.note and c.audio).open()
    arms = everything.arms(study, SUBSETS)
    assert len(arms) == 15
    for subset, (pattern, answer) in arms.items():
        only = replace(
            study, volumes=study.volumes if "image" in subset else (), note=study.note if "text" in subset else None,
            recording=study.recording if "audio" in subset else None, values=study.values if "tabular" in subset else None,
        )  # fmt: skip
        alone = everything.predict(only)
        assert alone.pattern == pattern == pattern_name(subset)
        assert alone.answer.probabilities == pytest.approx(answer.probabilities, abs=1e-5)


def test_every_side_moves_the_answer_and_gets_a_gradient(cohort: Path, everything: Predictor) -> None:
    model: MultimodalClassifier = everything.folder.model
    prepare, collate = everything.folder.preprocessor.prepare, everything.folder.preprocessor.collate
    samples = [prepare(c.open())[0] for c in cases(cohort, everything)[:3]]
    model.zero_grad()
    model(collate(samples)).fused.square().sum().backward()
    for name in MODALITIES:
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoders[name].parameters()), name
    model.zero_grad()


def test_a_cohort_with_all_of_them_is_evaluated_without_special_code(cohort: Path, folder: Path, tmp_path: Path) -> None:
    summary = run_evaluation(cohort, folder, tmp_path / "run", device="cpu")
    rows = read_rows(tmp_path / "run" / "predictions.csv", ValueError)  # type: ignore[arg-type]
    assert (summary.status, summary.failed) == ("finished", 0)
    assert {"full", "image+text", "audio+tabular", "tabular"} <= {row["arm"] for row in rows}
    assert {row["pattern"] for row in rows if row["arm"] == "tabular"} == {"tabular"}


def test_several_images_of_one_study_are_all_read_in_any_order(imaged_rows: Any, write_cohort: Any, tmp_path: Path) -> None:
    rows = imaged_rows(24)
    files = [row["image"] for row in rows]
    for row, file, other in zip(rows, files, files[2:] + files[:2], strict=True):
        row["image"] = f"{file}|{other}"
    config = replace(CONFIG, modalities=("image",), tabular=(), units={})
    train(path := write_cohort(tmp_path, rows), tmp_path / "m", config, device="cpu")
    predictor = Predictor.load(tmp_path / "m", "cpu")
    study = read_cohort(path).cases[0].open()
    both = predictor.predict(study)
    assert [n.code for n in both.notices if n.code == "W_EXTRA_IMAGES"] == []
    swapped = predictor.predict(replace(study, volumes=study.volumes[::-1]))
    alone = predictor.predict(replace(study, volumes=study.volumes[:1]))
    assert swapped.answer.logits == pytest.approx(both.answer.logits, abs=1e-5)
    assert alone.answer.logits != pytest.approx(both.answer.logits, abs=1e-5)
    four = predictor.predict(replace(study, volumes=study.volumes * 2))
    assert "W_EXTRA_IMAGES" in [n.code for n in four.notices]


def listening(folder: Path) -> TrainConfig:
    """Choices for recordings, with a tiny Whisper of two seconds whose weights are written to a folder."""
    from transformers import AutoConfig, AutoModel

    kind = {
        "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
        "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_source_positions": 100, "vocab_size": 60, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
    }  # fmt: skip
    AutoModel.from_config(AutoConfig.for_model("whisper", **kind)).save_pretrained(folder)
    return replace(CONFIG, modalities=("audio",), audio_encoder="huggingface_mel", encoder_options={}, audio_seconds=2.0,
                   audio_source=str(folder), pretrained_rate=1e-9, weight_decay=0.0)  # fmt: skip


def test_a_pretrained_speech_encoder_is_what_training_begins_with(cohort: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    train(cohort, tmp_path / "m", listening(tmp_path / "whisper"), device="cpu")
    trained: Any = Predictor.load(tmp_path / "m", "cpu").folder.model.own_encoder("audio")
    before = AutoModel.from_pretrained(tmp_path / "whisper").get_encoder().state_dict()
    for name, tensor in trained.net.state_dict().items():  # a rate of nothing leaves what was loaded
        np.testing.assert_allclose(tensor.numpy(), before[name].numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"audio_source": "nowhere"}, "audio_source"),
        ({"audio_seconds": 2.5}, r"at most 2 s; got 80 and 2\.5 s"),
        ({"audio_encoder": "huggingface_waveform"}, "Try huggingface_mel"),
        ({}, "in safetensors; it could not be read"),  # its weights are gone
    ],
)
def test_a_speech_encoder_that_does_not_fit_is_refused_before_any_study_is_read(
    change: dict[str, Any], told: str, cohort: Path, tmp_path: Path
) -> None:
    config, begun = listening(tmp_path / "whisper"), list[str]()
    (tmp_path / "whisper" / "model.safetensors").unlink()
    with pytest.raises(TaskError, match=told):
        train(cohort, tmp_path / "m", replace(config, **change), device="cpu", on_progress=lambda what, *_: begun.append(what))
    assert not begun


def test_training_can_judge_on_the_mean_over_the_subsets(cohort: Path, tmp_path: Path) -> None:
    f1: list[float] = []
    config = replace(CONFIG, epochs=4, modalities=("text", "tabular"), judge_on="subsets")
    train(cohort, tmp_path / "m", config, device="cpu", on_epoch=lambda _, row: f1.append(row["val/f1_macro"]))
    predictor = Predictor.load(tmp_path / "m", "cpu")
    preprocessor, labels = predictor.folder.preprocessor, predictor.folder.model.config.labels
    assert preprocessor.tabular is not None
    asked = [c for c in read_cohort(cohort, fields=preprocessor.tabular.fields, labels=labels).cases if c.split == "val" and c.note]
    answers = [predictor.answers(preprocessor.prepare(c.open())[0]) for c in asked]  # type: ignore[arg-type]
    truth = [c.target[1] for c in asked if c.target is not None]
    best = []
    for pattern in predictor.folder.model.patterns:
        p = [given[pattern].probabilities[labels[1]] for given in answers]
        best.append(max(f1_score(truth, np.array(p) >= t, average="macro", zero_division=0) for t in [0, *p, 2]))
    assert len(best) == 3
    assert max(f1) == pytest.approx(np.mean(best))


def test_a_fusion_from_which_modalities_were_hidden_answers_better_from_part(cohort: Path, tmp_path: Path) -> None:
    loss = {}
    for chance in (0.0, 0.5):
        config = replace(CONFIG, epochs=15, modalities=("text", "tabular"), modality_dropout=chance)
        train(cohort, tmp_path / f"{chance}", config, device="cpu")
        folder = Predictor.load(tmp_path / f"{chance}", "cpu").folder
        preprocessor, model = folder.preprocessor, folder.model
        assert preprocessor.tabular is not None
        asked = read_cohort(cohort, fields=preprocessor.tabular.fields, labels=model.config.labels).cases
        batch = preprocessor.collate([preprocessor.prepare(c.open())[0] for c in asked if c.note])  # type: ignore[arg-type]
        truth = torch.tensor([c.target.argmax() for c in asked if c.note and c.target is not None])
        with torch.no_grad():
            features = model.encode(batch)
            given = [{name: torch.full_like(mask, name == kept) for name, mask in batch.present.items()} for kept in batch.present]
            loss[chance] = sum(float(cross_entropy(model.fuse(features, present), truth)) for present in given)
    assert loss[0.5] < loss[0.0]
